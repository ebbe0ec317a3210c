# SPDX-License-Identifier: Apache-2.0
"""How long a yes, a no and an absence are told on."""

from fodc_proxy.access.answers import Away, Denied, Memory, Remembered
from fodc_proxy.fleet.moment import Moment

MEMORY = Memory(fresh_ms=10, stale_ms=100, denied_ms=5, away_ms=2, most_known=2, most_strangers=2)
AWAY = Away("away")
NO = Denied("no")


def at(ms: int) -> Moment:
    return Moment(ms, 1_000 + ms)


def test_a_yes_is_told_on_while_it_is_fresh_and_asked_again_after() -> None:
    answers = Remembered[str](MEMORY)

    assert answers.look(b"k", at(0)) is None
    assert answers.learn(b"k", "alice", at(0)) == "alice"
    assert [answers.look(b"k", at(ms)) for ms in (0, 9, 10)] == ["alice", "alice", None]


def test_a_no_is_told_on_for_a_moment_and_ends_a_yes() -> None:
    answers = Remembered[str](MEMORY)
    answers.learn(b"k", "alice", at(0))

    assert answers.learn(b"k", NO, at(10)) == NO
    assert [answers.look(b"k", at(ms)) for ms in (14, 15)] == [NO, None]
    assert answers.learn(b"k", AWAY, at(16)) == AWAY


def test_a_yes_holds_while_nobody_can_be_asked_until_it_is_stale() -> None:
    answers = Remembered[str](MEMORY)
    answers.learn(b"k", "alice", at(0))

    assert answers.learn(b"k", AWAY, at(50)) == "alice"
    assert [answers.look(b"k", at(ms)) for ms in (51, 52)] == ["alice", None]
    assert answers.learn(b"k", AWAY, at(100)) == "alice"
    assert answers.learn(b"k", AWAY, at(101)) == AWAY
    assert answers.look(b"k", at(102)) == AWAY


def test_who_is_not_known_is_not_let_in_while_nobody_can_be_asked() -> None:
    answers = Remembered[str](MEMORY)

    assert answers.learn(b"k", AWAY, at(0)) == AWAY
    assert [answers.look(b"k", at(ms)) for ms in (1, 2)] == [AWAY, None]
    assert answers.learn(b"k", "alice", at(2)) == "alice"
    assert answers.look(b"k", at(3)) == "alice"


def test_a_yes_ends_when_what_it_is_about_ends_also_while_nobody_can_be_asked() -> None:
    answers = Remembered[int](MEMORY, ends_ms=lambda ends_ms: ends_ms)
    answers.learn(b"k", 1_005, at(0))

    assert [answers.look(b"k", at(ms)) for ms in (4, 5)] == [1_005, None]
    assert answers.learn(b"k", AWAY, at(5)) == AWAY


def test_strangers_push_out_strangers_only_and_the_known_the_longest_known() -> None:
    answers = Remembered[str](MEMORY)
    for name in ("a", "b"):
        answers.learn(name.encode(), name, at(0))
    for number in range(1_000):
        answers.learn(b"stranger %d" % number, NO, at(0))

    assert [answers.look(key, at(1)) for key in (b"a", b"b", b"stranger 997", b"stranger 999")] == [
        *("a", "b", None),
        NO,
    ]
    answers.learn(b"c", "c", at(1))
    assert [answers.look(key, at(2)) for key in (b"a", b"b", b"c")] == [None, "b", "c"]

# SPDX-License-Identifier: Apache-2.0
"""What happened waits until it is acknowledged, bounded, and says what found no room."""

import pytest

from fodc_protocol.link.event_queue import MAX_BYTES, MAX_EVENTS, EventQueue, KeptEvents


def filled(queue: EventQueue, count: int) -> list[bool]:
    return [queue.add("node-gone", f"number {n}", {}, n) is not None for n in range(count)]


def test_the_first_occurrences_stay_and_the_next_that_fits_tells_the_gap() -> None:
    queue = EventQueue("life-1")
    assert filled(queue, MAX_EVENTS + 3) == [True] * MAX_EVENTS + [False] * 3

    assert queue.waiting[0].message == "number 0"
    assert queue.taken("life-1", 10)
    told = queue.add("node-back", "there again", {}, 9)

    assert told is not None
    assert (told.sequence, told.gap) == (MAX_EVENTS + 4, 3)
    assert (queue.produced, queue.delivered, queue.gapped) == (MAX_EVENTS + 4, 10, 3)
    after = queue.add("node-gone", "again", {}, 10)
    assert after is not None
    assert after.gap == 0


def test_a_gap_at_the_end_of_a_life_is_told_in_the_next_one() -> None:
    queue = EventQueue("life-1", max_events=1)
    filled(queue, 3)
    again = EventQueue("life-2", queue.kept(), max_events=2)

    told = again.add("node-restarted", "another process", {}, 5)

    assert told is not None
    assert (told.incarnation, told.sequence, told.gap) == ("life-2", 1, 2)
    assert [one.incarnation for one in again.waiting] == ["life-1", "life-2"]


def test_an_acknowledgement_takes_what_earlier_lives_have_left() -> None:
    queue = EventQueue("life-1")
    filled(queue, 3)
    again = EventQueue("life-2", queue.kept())
    again.add("node-restarted", "another process", {}, 5)

    assert not again.taken("life-0", 99)
    assert again.taken("life-1", 2)
    assert [one.sequence for one in again.waiting] == [3, 1]
    assert again.taken("life-2", 1)
    assert again.waiting == ()
    assert (again.produced, again.delivered, again.gapped) == (4, 4, 0)


def test_texts_are_bounded_and_so_is_the_whole() -> None:
    queue = EventQueue("life-1")
    told = queue.add("crash", "x" * 5000, {"crash": "y" * 5000}, 1)
    assert told is not None
    assert (len(told.message), len(told.fields["crash"])) == (1024, 512)

    fields = {f"name{n}": "v" * 512 for n in range(40)}
    while queue.add("crash", "x", fields, 1) is not None:
        pass
    assert sum(len(v) for one in queue.waiting for v in one.fields.values()) < MAX_BYTES
    assert max(len(one.fields) for one in queue.waiting) == 32


@pytest.mark.parametrize(
    "kept",
    [{"produced": 3}, {"delivered": -1, "gapped": 1}, {"produced": 1, "gapped": 1, "gap": 2}],
)
def test_a_queue_that_cannot_have_been_is_refused(kept: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="are not those"):
        KeptEvents(**kept)

# SPDX-License-Identifier: Apache-2.0
"""How often agents may register."""

from fodc_proxy.access.agents.paces import MOST_KEPT, Pace, Paces


def test_each_has_a_burst_and_then_its_rate_and_is_told_when_to_come_back() -> None:
    paces = Paces(Pace(1000, 1000), Pace(3, 2))

    assert [paces.each_wait_ms("a", 0) for _ in range(4)] == [0, 0, 0, 500]
    assert [paces.each_wait_ms("a", ms) for ms in (499, 500, 501)] == [1, 0, 499]
    assert paces.each_wait_ms("b", 501) == 0
    assert [paces.each_wait_ms("a", 60_000) for _ in range(4)] == [0, 0, 0, 500]


def test_the_whole_has_its_own() -> None:
    paces = Paces(Pace(2, 500))

    assert [paces.whole_wait_ms(10, is_proven=True) for _ in range(3)] == [0, 0, 2]
    assert paces.whole_wait_ms(12, is_proven=True) == 0


def test_who_has_shown_nothing_uses_up_nothing_of_the_others() -> None:
    paces = Paces(Pace(2, 500))

    assert [paces.whole_wait_ms(10, is_proven=False) for _ in range(3)] == [0, 0, 2]
    assert paces.whole_wait_ms(10, is_proven=True) == 0


def test_names_without_end_are_forgotten() -> None:
    paces = Paces(Pace(1, 1), Pace(1, 0.001))
    for number in range(MOST_KEPT + 1):
        paces.each_wait_ms(str(number), 0)

    assert (paces.each_wait_ms("1", 0), paces.each_wait_ms("0", 0)) == (1_000_000, 0)

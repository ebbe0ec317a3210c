# SPDX-License-Identifier: Apache-2.0
"""What the window was given comes out with its own time: T-RB and T-DS by outcome.

The rings of the existing agent (slots, visible size, finalizing) have no counterpart: a row is
stored in one step. What remains of T-RB is order, overwriting of the oldest, and resizing without
loss of the newest.
"""

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_agent.recorder.window import Window, absent_row
from fodc_protocol.metrics.samples import ABSENT, is_absent


def filled(values, *, recent=2, key_every=3) -> Window:
    window = Window(recent_rows=recent, key_every=key_every)
    for at, value in enumerate(values):
        window.append(at * 10, at * 10, array("d", [value]), 1)
    return window


def column(window: Window, start=-(10**15), end=10**15, index=0):
    picks = window.pick(start, end)
    return list(zip(picks.timestamps_ms, window.gather(picks, [index]), strict=True))


def test_t_rb_01_new_window_is_empty():
    window = Window()
    assert (len(window), window.bytes, column(window)) == (0, 0, [])


def test_t_rb_03_04_rows_come_out_first_in_first_out():
    assert column(filled([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])) == [
        (at * 10, at + 1.0) for at in range(7)
    ]


@pytest.mark.parametrize("drops", range(8))
def test_t_rb_09_oldest_row_leaves_alone(drops):
    window = filled([float(at) for at in range(7)])
    for _ in range(min(drops, 7)):
        window.drop_oldest()
    assert column(window) == [(at * 10, float(at)) for at in range(drops, 7)]


def test_dropping_from_an_empty_window_is_an_error():
    with pytest.raises(IndexError):
        Window().drop_oldest()


def test_emptied_window_costs_nothing():
    window = filled([1.0] * 9)
    for _ in range(9):
        window.drop_oldest()
    assert (window.bytes, window.samples, len(window)) == (0, 0, 0)


def test_query_takes_both_ends_in():
    window = filled([float(at) for at in range(9)])
    assert column(window, 20, 40) == [(20, 2.0), (30, 3.0), (40, 4.0)]
    assert column(window, 41, 49) == []
    assert column(window, 40, 20) == []


def test_w12_backward_clock_comes_out_ascending_with_own_values():
    window = Window(recent_rows=1, key_every=3)
    for at_ms, value in ((100, 1.0), (110, 2.0), (50, 3.0), (60, 4.0), (110, 5.0)):
        window.append(at_ms, 0, array("d", [value]), 1)
    assert column(window) == [(50, 3.0), (60, 4.0), (100, 1.0), (110, 2.0), (110, 5.0)]


def test_w12_series_born_later_is_absent_before():
    window = Window(recent_rows=1, key_every=3)
    for at in range(6):
        window.append(at, at, array("d", range(at + 1)), at + 1)
    cells = window.gather(window.pick(0, 10), [0, 3, 5])
    assert list(cells[:6]) == [0.0] * 6
    assert [is_absent(value) for value in cells[6:]] == [True] * 3 + [False] * 3 + [True] * 5 + [
        False
    ]


def test_picks_survive_rows_that_leave_meanwhile():
    window = filled([float(at) for at in range(9)])
    picks = window.pick(0, 100)
    window.drop_oldest()
    window.drop_oldest()
    held = window.held(picks)
    assert list(held.timestamps_ms) == [at * 10 for at in range(2, 9)]
    assert list(window.gather(held, [0])) == [float(at) for at in range(2, 9)]


row_values = st.floats(width=64, allow_nan=False) | st.just(ABSENT) | st.just(float("nan"))


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(-100, 100), st.lists(row_values, max_size=6), st.integers(0, 2)),
        max_size=40,
    ),
    st.integers(1, 5),
    st.integers(1, 7),
    st.tuples(st.integers(-100, 100), st.integers(-100, 100)),
)
def test_whatever_went_in_comes_out_with_its_time(entries, recent, key_every, span):
    window = Window(recent_rows=recent, key_every=key_every)
    model: list[tuple[int, list[float]]] = []
    width = 0
    for at_ms, values, drops in entries:
        width = max(width, len(values))
        row = array("d", values) + absent_row(width - len(values))
        window.append(at_ms, 0, row, len(values))
        model.append((at_ms, list(row)))
        for _ in range(min(drops, len(model))):
            window.drop_oldest()
            model.pop(0)
    expected = sorted((one for one in model if span[0] <= one[0] <= span[1]), key=lambda x: x[0])
    picks = window.pick(*span)
    assert list(picks.timestamps_ms) == [at for at, _ in expected]
    for index in range(width):
        cells = array("d", [(row + [ABSENT] * width)[index] for _, row in expected])
        assert window.gather(picks, [index]).tobytes() == cells.tobytes()
    if expected:
        whole = window.gather(picks, range(width))
        assert len(whole) == width * len(expected)

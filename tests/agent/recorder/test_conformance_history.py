# SPDX-License-Identifier: Apache-2.0
"""T-RB of the existing agent, restated as what a reader of the history sees.

There every series has a ring of slots, a count of slots and a count of "finalized" values. Here a
page becomes one row of its source in one step, so there are no slots and nothing is ever half
finished. What was the capacity of a ring is here the reach of the history: `--window-target` (and
the memory budget), changed by a restart that finds its journal again. Rows come every 10 s, so a
target of 10 x (n - 1) seconds holds n of them.
"""

import itertools
import math
import sys

import pytest

from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.metrics.samples import MetricType, Sample, Series, is_absent

FOREVER_MS = 10**15


def history(one: Recorder, name: str = "m", start_ms: int = -FOREVER_MS, end_ms: int = FOREVER_MS):
    found = []
    for piece in one.window(start_ms, end_ms, frozenset({name})):
        points = len(piece.timestamps_ms)
        for at in range(len(piece.series)):
            cells = piece.values[at * points : (at + 1) * points]
            pairs = zip(piece.timestamps_ms, cells, strict=True)
            found += [(at_ms, value) for at_ms, value in pairs if not is_absent(value)]
    return found


def values(one: Recorder) -> list[float]:
    return [value for _, value in history(one)]


class Lives:
    """A recorder that is closed and started again with another reach, like `--window-target`."""

    def __init__(self, directory, rows: int) -> None:
        self._directory = directory
        self._ticks = itertools.count()
        self.one = self._started(rows)

    def record(self, *numbers: float) -> None:
        for number in numbers:
            self.one.record_page("node", f"m {number}\n".encode(), next(self._ticks) * 10_000)

    def restart(self, rows: int) -> None:
        self.journal.close()
        self.one = self._started(rows)

    def _started(self, rows: int) -> Recorder:
        self.journal = Journal(self._directory, max_bytes=1 << 20)
        one = Recorder(
            budget_bytes=1 << 20, interval_s=10, target_s=(rows - 1) * 10, diary=self.journal
        )
        paths = self.journal.earlier()
        restoration = one.restoration(self.journal.times_ms(paths))
        for _ in restoration.steps(self.journal.replay(paths)):
            pass
        restoration.join()
        return one


@pytest.fixture
def lives(tmp_path):
    made: list[Lives] = []

    def start(rows: int) -> Lives:
        made.append(Lives(tmp_path, rows))
        return made[-1]

    yield start
    for one in made:
        one.journal.close()


def plain(budget_bytes: int = 1 << 20) -> Recorder:
    return Recorder(budget_bytes=budget_bytes, interval_s=10)


# ---- what one row costs and shows ---------------------------------------------------------------


def test_t_rb_02_first_row_is_one_row_and_reserves_no_more():
    """Upstream allots five slots at the first value; ours pays for what it holds (W-10)."""
    one = plain()
    one.record_page("node", b"m 1\n", 0)
    first = one.extent()
    one.record_page("node", b"m 2\n", 10_000)
    second = one.extent()
    one.record_page("node", b"m 3\n", 20_000)
    third = one.extent()
    assert [(each.rows, each.samples) for each in (first, second, third)] == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]
    assert third.bytes - second.bytes == second.bytes - first.bytes > 0


@pytest.mark.parametrize(
    ("start_ms", "end_ms"), [(50_001, 90_000), (-90_000, -1), (30_000, 20_000), (10_001, 19_999)]
)
def test_t_rb_05_history_outside_what_is_held_is_empty(start_ms, end_ms):
    """Upstream gives 0 for a place that does not exist, which looks like a value."""
    one = plain()
    assert history(one, "m", start_ms, end_ms) == []
    for at in range(6):
        one.record_page("node", f"m {at + 7}\n".encode(), at * 10_000)
    assert history(one, "m", start_ms, end_ms) == []
    assert history(one, "m", 20_000, 20_000) == [(20_000, 9.0)]


def test_t_rb_06_newest_value_is_none_at_first_and_the_newest_after_overwriting(lives):
    """Upstream says 0 before the first value; no value is None here."""
    one = lives(5)
    assert one.one.value("m") is None
    one.record(1, 2, 3, 4, 5, 6, 7)
    assert (one.one.value("m"), values(one.one)) == (7.0, [3.0, 4.0, 5.0, 6.0, 7.0])


# ---- another reach ------------------------------------------------------------------------------


def test_t_rb_07_another_reach_of_an_empty_history_invents_nothing(lives):
    one = lives(5)
    one.restart(10)
    extent = one.one.extent()
    assert (extent.rows, extent.bytes, extent.target_s) == (0, 0, 90)
    assert (one.one.value("m"), values(one.one)) == (None, [])


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(5, (1, 2, 3)), (10, ())], [1, 2, 3]),  # T-RB-08
        ([(10, range(1, 11)), (5, ())], [6, 7, 8, 9, 10]),  # T-RB-09
        ([(5, (1, 2, 3)), (5, ())], [1, 2, 3]),  # T-RB-10
        ([(5, range(1, 8)), (5, ())], [3, 4, 5, 6, 7]),  # T-RB-10, full
        ([(10, range(1, 9)), (5, ())], [4, 5, 6, 7, 8]),  # T-RB-12
        ([(10, range(1, 11)), (3, ())], [8, 9, 10]),  # T-RB-14
        ([(5, range(1, 6)), (10, range(6, 11)), (3, ())], [8, 9, 10]),  # T-RB-15
        ([(5, range(1, 6)), (10, range(6, 11))], list(range(1, 11))),  # T-RB-15, before it shrinks
        ([(3, range(1, 11))], [8, 9, 10]),  # T-RB-16
        ([(10, range(1, 6)), (3, (6, 7))], [5, 6, 7]),
    ],
)
def test_t_rb_08_12_14_16_another_reach_keeps_the_newest_in_order(lives, steps, expected):
    one = lives(steps[0][0])
    for number, (rows, added) in enumerate(steps):
        if number:
            one.restart(rows)
        one.record(*added)
    assert values(one.one) == expected
    assert [at_ms for at_ms, _ in history(one.one)] == [(v - 1) * 10_000 for v in expected]


def test_t_rb_13_longer_reach_keeps_the_order(lives):
    """Upstream has lost 1 and 2; the journal still has them, so the longer reach shows them."""
    one = lives(5)
    one.record(1, 2, 3, 4, 5, 6, 7)
    assert values(one.one) == [3.0, 4.0, 5.0, 6.0, 7.0]
    one.restart(10)
    assert values(one.one) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_t_rb_13_longer_reach_of_a_living_history_continues_it():
    one = Recorder(budget_bytes=1 << 20, interval_s=10, target_s=40)
    for at in range(1, 8):
        one.record_page("node", f"m {at}\n".encode(), at * 10_000)
    one.target_s = 90
    assert values(one) == [3.0, 4.0, 5.0, 6.0, 7.0]
    one.record_page("node", b"m 8\n", 80_000)
    assert values(one) == [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


@pytest.mark.parametrize("budget_bytes", [0, -1])
def test_t_rb_11_a_budget_of_nothing_is_obeyed(budget_bytes):
    """Upstream ignores 0 and -1. Here a budget is a promise: no history, newest values stay.

    Nobody gets there by accident: --window-budget refuses what is negative and takes 0 as "derive".
    """
    one = plain()
    for at in range(3):
        one.record_page("node", f"m {at}\n".encode(), at * 10_000)
    one.budget_bytes = budget_bytes
    one.record_page("node", b"m 3\n", 30_000)
    assert (one.value("m"), values(one), one.extent().rows) == (3.0, [], 0)
    one.budget_bytes = 1 << 20
    one.record_page("node", b"m 4\n", 40_000)
    assert (one.value("m"), values(one)) == (4.0, [4.0])


# ---- nothing is ever half finished --------------------------------------------------------------


def test_t_rb_17_nothing_of_a_page_shows_before_all_of_it_is_stored():
    """Upstream's "add, then finalize" is one step here, also for a series met several times."""
    one = plain()
    assert (one.value("m"), values(one)) == (None, [])
    one.record_page("node", b"m 1\nm 2\nm 3\n", 0)
    assert (one.value("m"), values(one)) == (3.0, [3.0])
    one.record_page("node", b"m 4\n", 10_000)
    assert (one.value("m"), values(one)) == (4.0, [3.0, 4.0])


class Breaking(list):
    """Samples that end with an error instead of the last one."""

    def __iter__(self):
        yield from self[:-1]
        raise MemoryError("no room for the last sample")


@pytest.mark.parametrize("source", ["node", "another"])
def test_t_rb_17_a_batch_that_breaks_halfway_leaves_no_trace(source):
    """Neither its values nor its new series are seen, and every other answer goes on."""
    one = plain()
    one.record_page("node", b"m 1\n", 0)
    before = one.latest(), list(one.latest_samples()), one.extent()
    batch = Breaking([Sample(Series(name, ()), 2.0) for name in ("m", "new", "last")])
    with pytest.raises(MemoryError):
        one.record_samples(source, batch, 10_000)
    assert (one.latest(), list(one.latest_samples()), one.extent()) == before
    assert (one.value("m"), one.value("new"), history(one, "new")) == (1.0, None, [])
    report = one.record_page(source, b"new 3\nm 3\n", 20_000)
    assert (report.series, one.value("new"), values(one)) == (2, 3.0, [1.0, 3.0])
    assert history(one, "new") == [(20_000, 3.0)]


def test_t_rb_17_a_page_that_breaks_halfway_leaves_no_trace(monkeypatch):
    """Also not in what the parser remembers of the lines it has read."""
    one = plain()
    one.record_page("node", b"m 1\n", 0)

    def no_room(line):
        raise MemoryError

    monkeypatch.setattr("fodc_agent.recorder.parser.read_comment", no_room)
    with pytest.raises(MemoryError):
        one.record_page("node", b"new 2\nm 2\n# TYPE x gauge\nx 2\n", 10_000)
    monkeypatch.undo()
    assert ([block.text for block in one.latest().blocks], values(one)) == ([b"m 1\n"], [1.0])
    one.record_page("node", b"other 3\nnew 4\nm 5\n", 20_000)
    found = {sample.series.name: sample.value for sample in one.latest_samples()}
    assert found == {"m": 5.0, "other": 3.0, "new": 4.0}


def test_t_rb_18_of_a_page_that_repeats_a_series_the_last_value_counts():
    """Upstream then shows the first of the three, which it calls a limitation."""
    one = plain()
    one.record_page("node", b"m 10\n", 0)
    one.record_page("node", b"m 20\n", 10_000)
    assert values(one) == [10.0, 20.0]
    report = one.record_page("node", b"m 30\nm 40\nm 50\n", 20_000)
    assert (report.series, report.duplicates) == (1, 2)
    assert history(one) == [(0, 10.0), (10_000, 20.0), (20_000, 50.0)]


def test_t_rb_19_newest_value_and_newest_row_never_differ():
    """Upstream's newest is 300 while its history ends with 200."""
    one = plain()
    one.record_page("node", b"m 100\n", 0)
    one.record_page("node", b"m 200\nm 300\n", 10_000)
    assert (one.value("m"), values(one)) == (300.0, [100.0, 300.0])


def test_t_rb_20_shorter_reach_after_a_page_with_repeats_keeps_the_newest_rows(lives):
    """Upstream, shrunk, makes five values visible that were not: [8, 9, 10]."""
    one = lives(10)
    one.record(1, 2, 3, 4, 5)
    one.one.record_page("node", b"m 6\nm 7\nm 8\nm 9\nm 10\n", 50_000)
    assert values(one.one) == [1.0, 2.0, 3.0, 4.0, 5.0, 10.0]
    one.restart(3)
    assert values(one.one) == [4.0, 5.0, 10.0]


# ---- kinds of values, many users ----------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 40])
def test_t_rb_21_numbers_times_and_texts_come_back_bit_for_bit(rows):
    """Upstream's rings hold floats, strings and integers; so do values, labels and times here.

    40 rows, so that the compressed ones are among them.
    """
    numbers = [sys.float_info.max, sys.float_info.min, 5e-324, -0.0, math.inf, -math.inf, 1 / 3]
    labels = (("path", 'C:\\x "y"\n数据'),)
    big_ms = 9_007_199_254_740_993  # a double would round it
    one = Recorder(budget_bytes=1 << 20, interval_s=10, target_s=10**9)
    told = []
    for at in range(rows):
        row = [numbers[(at + n) % len(numbers)] for n in range(len(numbers))]
        samples = [
            Sample(Series(f"m{n}", labels, MetricType.GAUGE), number)
            for n, number in enumerate(row)
        ]
        one.record_samples("s", samples, big_ms + at)
        told.append(row)
    (piece,) = one.window(0, big_ms * 2)
    assert list(piece.timestamps_ms) == [big_ms + at for at in range(rows)]
    assert {series.labels for series in piece.series} == {labels}
    shown = [piece.values[n * rows : (n + 1) * rows] for n in range(len(numbers))]
    assert [[value.hex() for value in column] for column in shown] == [
        [row[n].hex() for row in told] for n in range(len(numbers))
    ]


def test_t_rb_22_readers_writers_and_changes_of_the_budget_may_alternate_freely():
    """The program has one thread: what meets there are answers under way and new rows.

    An answer that was begun shows rows that were stored then, each value with its own time.
    """
    one = Recorder(budget_bytes=1 << 20, interval_s=10)
    begun = []
    pieces = 0
    for at in range(60):
        body = "".join(f'm{{i="{n}"}} {at}\n' for n in range(500 - at % 7))
        one.record_page("node", body.encode(), at * 10_000)
        assert (one.value("m"), one.extent().newest_ms) == (float(at), at * 10_000)
        one.budget_bytes = (1 << 20, 250_000, 225_000)[at % 3]
        answer = one.window(0, FOREVER_MS, frozenset({"m"}))
        begun.append((at, [next(answer)], answer))
        if len(begun) > 3:
            newest, found, rest = begun.pop(0)
            found += rest
            pieces += len(found)
            for piece in found:
                assert told_by(piece, newest) == []
    assert pieces == 57 * 2
    assert 0 < one.extent().rows < 60


def told_by(piece, newest: int) -> list[tuple[int, float]]:
    """Return what a piece shows and was never told: values equal their row's number here."""
    times = list(piece.timestamps_ms)
    assert times == sorted(set(times))
    assert times[-1] <= newest * 10_000
    cells = zip(itertools.cycle(times), piece.values, strict=False)
    return [cell for cell in cells if not is_absent(cell[1]) and cell[1] * 10_000 != cell[0]]

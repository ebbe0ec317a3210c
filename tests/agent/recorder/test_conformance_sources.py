# SPDX-License-Identifier: Apache-2.0
"""T-DS, T-FR and T-KEY of the existing agent, restated as what a user of the recorder sees.

What is a datasource there is a named source here; its list of rings is the columns of one table.
"""

import asyncio

import pytest

from fodc_agent.recorder.lines import SkipReason
from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.metrics.samples import Sample, Series, is_absent

FOREVER_MS = 10**15


def recorder(**changes) -> Recorder:
    return Recorder(**({"budget_bytes": 1 << 20, "interval_s": 10.0} | changes))


def page(**values: float) -> bytes:
    return "".join(f"{name} {value}\n" for name, value in values.items()).encode()


def latest(one: Recorder) -> dict[str, float]:
    return {sample.series.name: sample.value for sample in one.latest_samples()}


def history(one: Recorder) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Everything by source and name, as (time, value)."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for piece in one.window(-FOREVER_MS, FOREVER_MS):
        points = len(piece.timestamps_ms)
        for at, series in enumerate(piece.series):
            cells = piece.values[at * points : (at + 1) * points]
            pairs = zip(piece.timestamps_ms, cells, strict=True)
            kept = [(at_ms, value) for at_ms, value in pairs if not is_absent(value)]
            found.setdefault((piece.source, series.name), []).extend(kept)
    return found


def table_bytes(body: bytes) -> int:
    """What the names of a page cost beside its row."""
    one = recorder()
    one.record_page("node", body, 0)
    full = one.extent().bytes
    one.budget_bytes = 0
    one.record_page("node", body, 1)
    names = one.extent().bytes
    assert 0 < names < full
    return names


# ---- T-DS: one source ---------------------------------------------------------------------------


def test_t_ds_02_all_series_of_a_source_reach_equally_far():
    """Upstream gives all rings one capacity; here they are cells of the same rows."""
    one = recorder(budget_bytes=4_000)
    for at in range(100):
        one.record_page("node", page(a=at, b=at + 0.5, c=-at), at * 10_000)
    rows = one.extent().rows
    times = {name: [at_ms for at_ms, _ in cells] for (_, name), cells in history(one).items()}
    expected = [at * 10_000 for at in range(100 - rows, 100)]
    assert times == {"a": expected, "b": expected, "c": expected}
    assert 2 < rows < 100


def test_t_ds_03_ten_writers_at_once_lose_nothing():
    async def run():
        one = recorder()

        async def write(number: int):
            for at in range(10):
                body = f'm{{writer="{number}"}} {number * 100 + at}\n'.encode()
                one.record_page(f"source-{number}", body, at * 10_000)
                await asyncio.sleep(0)

        await asyncio.gather(*map(write, range(10)))
        return one

    one = asyncio.run(run())
    assert [(dict(s.series.labels)["writer"], s.value) for s in one.values("m")] == [
        (str(number), number * 100 + 9.0) for number in range(10)
    ]
    assert history(one) == {
        (f"source-{number}", "m"): [(at * 10_000, number * 100.0 + at) for at in range(10)]
        for number in range(10)
    }
    assert (one.extent().series, one.extent().rows) == (10, 100)


@pytest.mark.parametrize("head", ["", "# HELP m About m.\n# TYPE m gauge\n"])
@pytest.mark.parametrize(
    ("part", "rows", "newest", "refused"), [(0.9, 0, None, 1), (1.0, 0, None, 1), (1.4, 1, 7.0, 0)]
)
def test_t_ds_06_budget_near_the_cost_of_the_names_never_stops_the_recording(
    head, part, rows, newest, refused
):
    """A2: upstream keeps at least one value per ring and so breaks its budget.

    Here three quarters of it are for names, and a series whose name does not fit is refused.
    """
    body = f"{head}m 7\n".encode()
    one = recorder(budget_bytes=int(table_bytes(body) * part))
    for at in range(5):
        one.record_page("node", body, at * 10_000)
        assert one.extent().bytes <= one.budget_bytes
    assert (one.extent().rows, one.value("m")) == (rows, newest)
    assert (one.extent().newest_ms, one.extent().refused) == (40_000 if rows else 0, refused)


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_t_ds_07_another_budget_keeps_values_and_takes_new_ones(factor):
    one = recorder()
    for at in range(5):
        one.record_page("node", page(cpu=70 + at), at * 10_000)
    one.budget_bytes = int(one.budget_bytes * factor)
    one.record_page("node", page(cpu=75), 50_000)
    assert history(one) == {
        ("node", "cpu"): [
            (0, 70.0),
            (10_000, 71.0),
            (20_000, 72.0),
            (30_000, 73.0),
            (40_000, 74.0),
            (50_000, 75.0),
        ]
    }


def test_t_ds_08_long_names_and_many_labels():
    name = "n" * 1000
    labels = {f"label_{number}": "v" * number for number in range(1, 100)}
    text = ",".join(f'{key}="{value}"' for key, value in labels.items())
    one = recorder()
    for at in range(20):
        report = one.record_page("node", f"{name}{{{text}}} {at}\n".encode(), at * 10_000)
        assert (report.series, dict(report.skipped)) == (1, {})
    assert one.value(name, {"label_99": "v" * 99}) == 19.0
    assert dict(one.values(name)[0].series.labels) == labels
    assert history(one)["node", name] == [(at * 10_000, float(at)) for at in range(20)]


def test_t_ds_09_values_and_time_move_together():
    one = recorder()
    seen = []
    for at_ms, value in ((1_000, 1000), (2_000, 2000)):
        one.record_page("node", page(a=value, b=value), at_ms)
        answer = one.latest()
        seen.append((answer.at_ms, [block.text for block in answer.blocks]))
    assert seen == [(1_000, [b"a 1000\n", b"b 1000\n"]), (2_000, [b"a 2000\n", b"b 2000\n"])]
    assert history(one)["node", "a"] == [(1_000, 1000.0), (2_000, 2000.0)]


def test_t_ds_10_reader_during_a_batch_sees_all_of_the_old_and_then_all_of_the_new():
    """T-EXP-03: a page that is asked for while samples come in."""
    names = ("a", "b", "c")
    one = recorder()
    series = [Series(name, ()) for name in names]
    one.record_samples("kernel", [Sample(each, 1000.0) for each in series], 1_000)
    seen = []

    class Batch(list):
        """Looks at the recorder between each two samples that the recorder takes."""

        def __iter__(self):
            for each in list.__iter__(self):
                seen.append((one.latest().at_ms, latest(one), len(history(one)["kernel", "a"])))
                yield each

    one.record_samples("kernel", Batch([Sample(each, 2000.0) for each in series]), 2_000)
    old = (1_000, dict.fromkeys(names, 1000.0), 1)
    assert seen == [old, old, old]
    assert (one.latest().at_ms, latest(one)) == (2_000, dict.fromkeys(names, 2000.0))


def test_t_ds_10_answer_that_was_begun_does_not_mix_in_a_newer_batch():
    one = recorder()
    body = "".join(f'm{{i="{number}"}} 1000\n' for number in range(900)).encode()
    one.record_page("node", body, 1_000)
    answer = one.window(0, FOREVER_MS)
    pieces = [next(answer)]
    one.record_page("node", body.replace(b" 1000\n", b" 2000\n"), 2_000)
    pieces += answer
    assert {(tuple(piece.timestamps_ms), *set(piece.values)) for piece in pieces} == {
        ((1_000,), 1000.0)
    }
    assert sum(len(piece.series) for piece in pieces) == 900


@pytest.mark.parametrize("times", [1, 2])
def test_t_ds_11_empty_batch_moves_neither_values_nor_time(times):
    """Upstream moves the time alone, so that old values look new (W-11, W-12)."""
    one = recorder()
    one.record_page("node", page(a=1), 1_000)
    for at in range(times):
        assert one.record_page("node", b"", 2_000 + at).series == 0
        assert one.record_samples("kernel", [], 3_000 + at).series == 0
    assert (one.latest().at_ms, latest(one)) == (1_000, {"a": 1.0})
    assert history(one) == {("node", "a"): [(1_000, 1.0)]}


# ---- T-FR: all sources --------------------------------------------------------------------------


def test_t_fr_03_the_same_source_goes_on_where_it_was():
    one = recorder()
    first = one.record_page("node", page(a=1, b=1), 0)
    again = one.record_page("node", page(a=2, b=2, c=2), 10_000)
    assert (first.new_series, again.new_series, one.extent().series) == (2, 1, 3)
    assert history(one) == {
        ("node", "a"): [(0, 1.0), (10_000, 2.0)],
        ("node", "b"): [(0, 1.0), (10_000, 2.0)],
        ("node", "c"): [(10_000, 2.0)],
    }


def test_t_fr_04_a_smaller_budget_reaches_every_source():
    one = recorder()
    for at in range(40):
        for source in ("node", "kernel", "agent"):
            one.record_page(source, page(m=at), at * 10_000)
    before = {source: len(cells) for (source, _), cells in history(one).items()}
    one.budget_bytes = one.extent().bytes // 2
    one.record_page("node", page(m=40), 400_000)
    after = {source: len(cells) for (source, _), cells in history(one).items()}
    assert before == {"node": 40, "kernel": 40, "agent": 40}
    assert max(after.values()) < 40
    assert max(after.values()) - min(after.values()) <= 2
    assert one.extent().bytes <= one.extent().budget_bytes == one.budget_bytes
    newest = {source: cells[-1] for (source, _), cells in history(one).items()}
    assert newest == {
        "node": (400_000, 40.0),
        "kernel": (390_000, 39.0),
        "agent": (390_000, 39.0),
    }


def test_t_fr_05_what_is_handed_out_is_the_readers_own():
    one = recorder()
    one.record_page("node", page(a=1, b=2), 5)
    one.latest().blocks.clear()
    one.values("a").clear()
    piece = next(one.window(0, 10))
    piece.values[0] = 99.0
    piece.timestamps_ms[0] = 99
    assert latest(one) == {"a": 1.0, "b": 2.0}
    assert [block.text for block in one.latest().blocks] == [b"a 1\n", b"b 2\n"]
    assert history(one) == {("node", "a"): [(5, 1.0)], ("node", "b"): [(5, 2.0)]}


def test_t_fr_11_overflow_keeps_the_bounds_and_the_order():
    one = recorder(budget_bytes=40_000)
    for at in range(500):
        body = "".join(f'm{{i="{number}"}} {at}.{number}\n' for number in range(40))
        one.record_page("node", body.encode(), at * 10_000)
        assert one.extent().bytes <= 40_000
    extent = one.extent()
    (piece,) = one.window(0, FOREVER_MS)
    times = list(piece.timestamps_ms)
    assert times == [at * 10_000 for at in range(500 - extent.rows, 500)]
    assert (extent.oldest_ms, extent.newest_ms) == (times[0], 4_990_000)
    assert 2 <= extent.rows < 360  # 360 would be the hour that was wanted
    assert extent.samples == extent.rows * 40
    assert piece.values[0] == 500.0 - extent.rows


# ---- T-KEY: how a series is written -------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "line"),
    [
        (Series("m", ()), b"m 1\n"),  # T-KEY-01
        (Series("m", (("a", "x"),)), b'm{a="x"} 1\n'),  # T-KEY-02
        (Series("m", (("b", "y"), ("a", "x"))), b'm{a="x",b="y"} 1\n'),  # T-KEY-03
        (Series("m", (("a", "y"), ("a", "x"))), b'm{a="x",a="y"} 1\n'),  # T-KEY-04
    ],
)
def test_t_key_series_is_written_with_its_labels_sorted(series, line):
    one = recorder()
    one.record_samples("s", [Sample(series, 1.0)], 0)
    assert [block.text for block in one.latest().blocks] == [line]


def test_t_key_04_line_of_a_page_that_repeats_a_label_is_no_series():
    """Upstream keeps both; the format allows a name once, so the line is skipped and counted."""
    one = recorder()
    report = one.record_page("node", b'm{a="y",a="x"} 1\nm{a="x"} 2\n', 0)
    assert dict(report.skipped) == {SkipReason.DUPLICATE_LABEL: 1}
    assert [block.text for block in one.latest().blocks] == [b'm{a="x"} 2\n']


def test_t_key_05_series_without_a_name_keeps_its_label_and_gets_a_legal_name():
    """Upstream writes `{a="x"}`, which no scraper reads and which then costs the whole page."""
    one = recorder()
    one.record_samples("s", [Sample(Series("", (("a", "x"),)), 1.0)], 0)
    assert [block.text for block in one.latest().blocks] == [b'_{a="x"} 1\n']
    assert [sample.series.labels for sample in one.values("")] == [(("a", "x"),)]

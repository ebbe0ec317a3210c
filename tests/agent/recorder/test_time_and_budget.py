# SPDX-License-Identifier: Apache-2.0
"""What is old and what fits: age by the steady clock at arrival, names inside the budget."""

import pytest

from fodc_agent.recorder import parser
from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.metrics.samples import Sample, Series, is_absent

MIB = 1 << 20


def history(one: Recorder, name: str) -> list[tuple[int, float]]:
    found = []
    for piece in one.window(-(10**15), 10**15, frozenset({name})):
        points = len(piece.timestamps_ms)
        for at in range(len(piece.series)):
            cells = piece.values[at * points : (at + 1) * points]
            pairs = zip(piece.timestamps_ms, cells, strict=True)
            found += [(time_ms, value) for time_ms, value in pairs if not is_absent(value)]
    return found


def wide_page(series: int, value: float = 1.0, tag: str = "") -> bytes:
    lines = [
        f'banyandb_measure_total_written{{group="sw_metric_{at % 37}",seg="{tag}{at:06d}"}} {value}'
        for at in range(series)
    ]
    return ("\n".join(lines) + "\n").encode()


# ---- age ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", [0, 2, 5, 9])
def test_a_port_that_answers_late_keeps_the_whole_hour(latency_s):
    """A1: readings carry the time of their start and come late, among others that do not."""
    one = Recorder(budget_bytes=8 * MIB, interval_s=10, target_s=3600)
    begin_ms = 1_790_000_000_000
    last_s = 2 * 3600
    late = [(start_s + latency_s, start_s, "n") for start_s in range(0, last_s + 1, 10)]
    quick = [(start_s, start_s, "cpu") for start_s in range(last_s + latency_s)]
    for arrived_s, start_s, name in sorted(late + quick):
        body = f"{name} {start_s}\n".encode()
        one.record_page(name, body, begin_ms + start_s * 1000, arrived_s * 1000)
    times = [time_ms for time_ms, _ in history(one, "n")]
    assert (times[-1] - times[0]) / 1000 == 3600


def test_a_clock_that_is_set_is_no_age():
    """A1: only the steady clock decides what is beyond the target."""
    one = Recorder(budget_bytes=MIB, interval_s=10, target_s=100)
    for at in range(20):
        wall_ms = at * 10_000 + (0 if at % 2 else -86_400_000)
        one.record_page("node", f"n {at}\n".encode(), wall_ms, at * 10_000)
    assert sorted(value for _, value in history(one, "n")) == [float(at) for at in range(9, 20)]


# ---- budget -------------------------------------------------------------------------------------


@pytest.mark.parametrize("series", [100, 3_000, 30_000])
def test_names_are_inside_the_budget_and_what_does_not_fit_is_counted(series):
    """A2: 1,492 KiB of a 128 KiB budget were used, and no row was kept."""
    one = Recorder(budget_bytes=MIB, interval_s=10, least_series=128)
    for at in range(5):
        report = one.record_page("metrics:2121", wide_page(series, at), at * 10_000)
        for other in range(6):
            own = [Sample(Series(f"own_{other}", ()), at)]
            one.record_samples(f"other-{other}", own, at * 10_000)
        assert one.extent().bytes <= MIB
    extent = one.extent()
    assert report.series + report.dropped + report.unread == series
    assert (extent.rows, extent.refused) == (35, report.dropped)
    assert [one.value(f"own_{other}") for other in range(6)] == [4.0] * 6
    assert (report.dropped > 0) == (series > 1_500)


def test_a_smaller_budget_makes_room_at_once():
    """A2: a target's share shrinks when others come."""
    one = Recorder(budget_bytes=4 * MIB, interval_s=10)
    one.record_page("metrics:2121", wide_page(3_000), 0)
    one.record_page("metrics:2122", b"small 1\n", 0)
    one.resize(MIB)
    assert one.extent().bytes <= MIB
    one.record_page("metrics:2121", wide_page(3_000), 10_000)
    assert (one.extent().bytes <= MIB, one.extent().refused > 1_000) == (True, True)
    assert one.value("small") == 1.0


def test_a_history_of_nothing_is_known_to_be_nothing():
    """A2: 0.0 is a value."""
    one = Recorder(budget_bytes=MIB, interval_s=10)
    assert one.extent().reachable_s is None
    one.record_page("metrics:2121", wide_page(500), 0)
    one.budget_bytes = 1000
    assert one.extent().reachable_s == 0.0


# ---- work ---------------------------------------------------------------------------------------


def test_pages_of_ever_new_series_are_cut():
    """A21: 60,000 fresh series with each scrape cost 24.7 s of CPU in 11 s."""
    one = Recorder(budget_bytes=8 * MIB, interval_s=10)
    one.record_page("node", b"steady 1\n" + wide_page(60_000, tag="first"), 0)
    pages = [wide_page(60_000, tag=f"t{at}-") + b"steady 1\n" for at in range(3)]
    for at, body in enumerate(pages):
        report = one.record_page("node", body, (at + 1) * 10_000)
        assert (report.dropped, report.unread) == (4_000, 56_000)
        assert one.value("steady") == 1.0
    assert one.extent().bytes <= 8 * MIB


def test_a_page_is_read_in_steps_and_nobody_sees_a_half():
    """A21: a first page of many series kept the event loop for seconds."""
    one = Recorder(budget_bytes=16 * MIB, interval_s=10)
    steps = one.page_steps("node", wide_page(8_000), 0)
    count = 0
    for _ in steps:
        count += 1
        assert list(one.latest_samples()) == []
        assert one.latest().blocks == []
        assert list(one.window(-1, 1 << 50)) == []
        one.record_samples("other", [], count)
    assert count > 10
    assert len(list(one.latest_samples())) == 8_000


def test_a_series_that_comes_back_while_its_page_is_read_keeps_its_column():
    """A21: another source must not free what the half-read page has already filled."""
    one = Recorder(budget_bytes=16 * MIB, interval_s=10, stale_after=1, target_s=20)
    one.record_page("node", b"back 1\n", 0)
    for at in range(1, 3):
        one.record_page("node", b"other 1\n", at * 10_000)
    steps = one.page_steps("node", b"back 2\n" + wide_page(3_000), 30_000)
    next(steps)
    one.record_samples("process", [Sample(Series("x", ()), 1)], 500_000)
    for _ in steps:
        pass
    assert one.value("back") == 2.0
    assert history(one, "back")[-1] == (30_000, 2.0)


# ---- lines --------------------------------------------------------------------------------------


def cold_lines(one: Recorder, body: bytes, monkeypatch) -> int:
    """Return how many lines of a second page go through the strict grammar."""
    one.record_page("node", body, 0)
    seen = []
    real = parser.read_sample
    monkeypatch.setattr(
        parser, "read_sample", lambda line, strings: seen.append(line) or real(line, strings)
    )
    one.record_page("node", body, 10_000)
    return len(seen)


@pytest.mark.parametrize(
    "tail",
    ["", " 1700000000000", ' # {trace_id="a b"} 0.5', ' # {t="1"} 0.5 1700000.123', " 17.5"],
)
def test_lines_with_timestamps_and_exemplars_are_known_the_second_time(tail, monkeypatch):
    """A6: 3,000 of them took 177 ms instead of 4."""
    body = "".join(f'm{{a="{at}"}} {at}{tail}\n' for at in range(50)).encode()
    one = Recorder(budget_bytes=MIB, interval_s=10)
    assert cold_lines(one, body, monkeypatch) == 0
    assert one.value("m", {"a": "7"}) == 7.0


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"m 1 2000\nm 2 1000\n", 1.0),
        (b"m 1 1000\nm 2 2000\n", 2.0),
        (b"m 1 2000\nm 2 2000\n", 2.0),
        (b"m 1 1.5\nm 2 1.25\n", 1.0),
        (b"m 1\nm 2\n", 2.0),
    ],
)
@pytest.mark.parametrize("scrapes", [1, 2])
def test_of_several_timestamps_the_newest_counts(body, value, scrapes):
    """A25."""
    one = Recorder(budget_bytes=MIB, interval_s=10)
    for at in range(scrapes):
        one.record_page("node", body, at)
    assert one.value("m") == value


def test_a_counter_of_openmetrics_keeps_type_and_help():
    """A25: TYPE foo with samples foo_total became a gauge without HELP."""
    one = Recorder(budget_bytes=MIB, interval_s=10)
    one.record_page("node", b"# HELP foo Things.\n# TYPE foo counter\nfoo_total 17\n# EOF\n", 0)
    (block,) = one.latest().blocks
    assert (block.name, block.type.text, block.help) == ("foo_total", "counter", "Things.")


def test_a_carriage_return_in_a_label_does_not_split_a_family():
    """A16: one of three samples was lost when two ports shared the family."""
    one = Recorder(budget_bytes=MIB, interval_s=10)
    one.record_page("metrics:1", b'm{a="x\ry"} 1\nm{a="x\rz"} 2\n', 0)
    one.record_page("metrics:2", b'm{a="w"} 3\n', 0)
    (block,) = one.latest().blocks
    assert (block.samples, block.text.count(b"\n")) == (3, 3)
    assert sorted(line.rpartition(b" ")[2] for line in block.text[:-1].split(b"\n")) == [
        b"1",
        b"2",
        b"3",
    ]


def test_labels_without_a_value_are_dropped_everywhere():
    """A32: 215 of 1,350 lines of a real page carry group=""."""
    one = Recorder(budget_bytes=MIB, interval_s=10)
    one.record_page("node", b'm{group="",seg="a"} 1\n', 0)
    one.record_samples("process", [Sample(Series("p", (("b", ""), ("a", "x"))), 1)], 0)
    assert [one.series.labels for one in one.latest_samples()] == [(("seg", "a"),), (("a", "x"),)]

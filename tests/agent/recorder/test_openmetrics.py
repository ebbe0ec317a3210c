# SPDX-License-Identifier: Apache-2.0
"""The window as OpenMetrics text, as its strict reader and promtool take it."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fodc_agent.recorder.openmetrics import NameFacts, batches, window_text
from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.metrics.samples import MetricType

T0 = 1_796_000_000_000
PAGE = b"""# HELP writes_total Writes "so far".
# TYPE writes_total counter
writes_total{group="a"} %d
writes_total{group="b"} %d
# TYPE heap_bytes gauge
heap_bytes %d
# TYPE wait_seconds histogram
wait_seconds_bucket{le="1"} 3
wait_seconds_bucket{le="+Inf"} 5
wait_seconds_sum 2.5
wait_seconds_count 5
"""


def recorded(*pages: bytes, source: str = "metrics:2121") -> Recorder:
    recorder = Recorder(budget_bytes=1 << 24, interval_s=10)
    for place, page in enumerate(pages):
        recorder.record_page(source, page, T0 + place * 10_000)
    return recorder


def text_of(recorder: Recorder, start_ms: int = 0, end_ms: int = 1 << 50) -> str:
    return b"".join(one.data for one in window_text(recorder, start_ms, end_ms)).decode()


def read(text: str) -> dict[str, list[tuple[dict[str, str], float, float]]]:
    return {
        family.name: [(s.labels, s.value, float(s.timestamp)) for s in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_every_sample_stands_with_its_time_below_its_family():
    found = read(text_of(recorded(PAGE % (1, 5, 10), PAGE % (2, 5, 20))))

    assert found["writes"] == [
        ({"group": "a"}, 1, 1_796_000_000.0),
        ({"group": "a"}, 2, 1_796_000_010.0),
        ({"group": "b"}, 5, 1_796_000_000.0),
        ({"group": "b"}, 5, 1_796_000_010.0),
    ]
    assert [value for _, value, _ in found["heap_bytes"]] == [10, 20]
    assert [labels["le"] for labels, _, _ in found["wait_seconds_bucket"]] == [
        "1",
        "1",
        "+Inf",
        "+Inf",
    ]


def test_the_text_begins_with_type_and_help_and_ends_with_eof():
    lines = text_of(recorded(PAGE % (1, 5, 10))).splitlines()

    assert lines[:3] == [
        "# TYPE writes counter",
        r"# HELP writes Writes \"so far\".",
        'writes_total{group="a"} 1 1796000000.000',
    ]
    assert lines[-1] == "# EOF"


def test_only_what_was_recorded_in_the_span_is_written():
    recorder = recorded(*(PAGE % (n, n, n) for n in range(5)))

    found = read(text_of(recorder, T0 + 10_000, T0 + 20_000))

    assert [value for _, value, _ in found["heap_bytes"]] == [1, 2]


def test_a_counter_beside_a_gauge_of_its_short_name_has_no_type():
    """Go exposes go_memstats_alloc_bytes and go_memstats_alloc_bytes_total."""
    page = b"# TYPE alloc_bytes gauge\nalloc_bytes 1\n# TYPE alloc_bytes_total counter\n"

    text = text_of(recorded(page + b"alloc_bytes_total 9\n"))

    assert "# TYPE alloc_bytes_total unknown\nalloc_bytes_total 9 " in text
    assert set(read(text)) == {"alloc_bytes", "alloc_bytes_total"}


def test_a_family_of_two_sources_stands_in_one_place_and_no_series_twice():
    recorder = recorded(b"up 1\nonly_first 1\n")
    recorder.record_page("metrics:6060", b'up 0\nup{port="6060"} 1\n', T0)

    found = read(text_of(recorder))

    assert found["up"] == [({}, 1, 1_796_000_000.0), ({"port": "6060"}, 1, 1_796_000_000.0)]


def test_a_name_with_more_series_than_a_batch_is_written_whole():
    lines = "".join(f'many{{n="{n}"}} {n}\n' for n in range(700))
    recorder = recorded(f"few 1\n{lines}last 2\n".encode())

    found = read(text_of(recorder))

    assert [value for _, value, _ in found["many"]] == list(range(700))
    assert list(found) == ["few", "many", "last"]


def test_a_series_that_was_absent_has_no_sample_and_nan_is_one():
    found = read(text_of(recorded(b"a 1\nb 1\n", b"a NaN\n", b"a 3\n")))

    assert [str(value) for _, value, _ in found["a"]] == ["1", "nan", "3"]
    assert len(found["b"]) == 1


def test_a_clock_that_stepped_back_leaves_no_time_twice():
    recorder = Recorder(budget_bytes=1 << 24, interval_s=10)
    for arrived, (value, at_ms) in enumerate([(1, T0), (2, T0 + 10_000), (3, T0)]):
        recorder.record_page("metrics", b"a %d\n" % value, at_ms, arrived * 10_000)

    assert [(v, t) for _, v, t in read(text_of(recorder))["a"]] == [
        (1, 1_796_000_000.0),
        (2, 1_796_000_010.0),
    ]


def test_an_empty_window_is_a_whole_text():
    assert text_of(Recorder(budget_bytes=1 << 20, interval_s=10)) == "# EOF\n"


@given(st.lists(st.integers(1, 600), max_size=40))
def test_batches_keep_order_and_are_never_larger_than_said_but_for_one_alone(sizes):
    names = [NameFacts(f"n{at}", MetricType.GAUGE, "", size) for at, size in enumerate(sizes)]

    found = list(batches(names, 256))

    assert [one for batch in found for one in batch] == names
    assert all(len(b) == 1 or sum(one.series for one in b) <= 256 for b in found)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="NO PROMTOOL: not found; apt-get install prometheus"
)
def test_promtool_makes_blocks_of_it(tmp_path):
    recorder = recorded(*(PAGE % (n, 2 * n, 3 * n) for n in range(6)))
    page = tmp_path / "window.om"
    page.write_text(text_of(recorder))

    done = subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(page), str(tmp_path / "db")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    block = next((tmp_path / "db").iterdir()) / "meta.json"
    assert '"numSamples": 42' in block.read_text()

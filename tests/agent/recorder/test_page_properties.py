# SPDX-License-Identifier: Apache-2.0
"""The parser against prometheus_client's, against real pages and against noise.

prometheus_client differs on purpose and is helped here: it takes one bad line as the end of the
page, appends "_total" to a counter without it, and knows no hexadecimal values.
"""

import math
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.metrics.grammar import escape_value
from fodc_protocol.metrics.page import render_page

PAGES = sorted((Path(__file__).parents[2] / "data/pages").glob("*.txt"))

names = st.from_regex(r"[a-z_:][a-z0-9_:]{0,12}", fullmatch=True)
label_names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from('\\"\n{}, #='),
    max_size=12,
)
floats = st.floats(width=64) | st.integers(-(10**18), 10**18).map(float)
samples = st.tuples(names, st.dictionaries(label_names, texts, max_size=4), floats)


def render(one):
    name, labels, value = one
    inner = ",".join(f'{key}="{escape_value(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value!r}" if labels else f"{name} {value!r}"


def bits(value: float) -> bytes:
    return b"nan" if math.isnan(value) else struct.pack("<d", value)


def ours(page: str, scrapes: int = 1):
    recorder = Recorder(budget_bytes=1 << 22, interval_s=10)
    for at in range(scrapes):
        recorder.record_page("node", page.encode(), at)
    return {
        (one.series.name, tuple(sorted(one.series.labels))): bits(one.value)
        for one in recorder.latest_samples()
    }


def families(page: str):
    return {(one.name, one.type) for one in text_string_to_metric_families(page) if one.samples}


def theirs(page: str):
    written = {line.partition(" ")[0].partition("{")[0] for line in page.splitlines()}
    return {
        (
            one.name if one.name in written else one.name.removesuffix("_total"),
            tuple(sorted(pair for pair in one.labels.items() if pair[1])),  # A32
        ): bits(float(one.value))
        for family in text_string_to_metric_families(page)
        for one in family.samples
    }


@settings(max_examples=150)
@given(st.lists(samples, max_size=12), st.integers(1, 3))
def test_generated_page_reads_as_prometheus_client_reads_it(rows, scrapes):
    page = "".join(render(one) + "\n" for one in rows)
    assert ours(page, scrapes) == theirs(page)


@settings(max_examples=150)
@given(st.lists(samples, min_size=1, max_size=6), st.lists(samples, max_size=6))
def test_second_page_reads_as_if_it_were_the_first(first, second):
    recorder = Recorder(budget_bytes=1 << 22, interval_s=10, stale_after=1)
    for at, rows in enumerate((first, second)):
        page = "".join(render(one) + "\n" for one in rows)
        recorder.record_page("node", page.encode(), at)
    found = {
        (one.series.name, tuple(sorted(one.series.labels))): bits(one.value)
        for one in recorder.latest_samples()
    }
    assert found == theirs("".join(render(one) + "\n" for one in second))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_real_page_reads_as_prometheus_client_reads_it(path):
    page = path.read_text()
    assert ours(page, 2) == theirs(page)
    assert len(ours(page)) > 10


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_real_page_comes_out_again_with_the_same_families(path):
    page = path.read_text()
    recorder = Recorder(budget_bytes=1 << 22, interval_s=10)
    report = recorder.record_page("node", page.encode(), 0)
    again = render_page(recorder.latest().blocks).decode()
    assert dict(report.skipped) == {}
    assert theirs(again) == theirs(page)
    assert families(again) == families(page)


@settings(max_examples=200)
@given(st.binary(max_size=400), st.binary(max_size=400))
def test_noise_never_raises_and_never_hides_the_line_after_it(noise, more):
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    for at, body in enumerate((noise, more, noise)):
        recorder.record_page("node", body + b"\nlast_line_of_the_page 7\n", at)
    assert recorder.value("last_line_of_the_page") == 7.0
    recorder.latest()


fragments = st.sampled_from(
    [
        "m",
        "{",
        "}",
        '"',
        "\\",
        "=",
        ",",
        " ",
        "\t",
        "\r",
        "a",
        "1",
        "NaN",
        "# HELP ",
        "# TYPE ",
        "histogram",
        "_bucket",
        "le",
        "\n",
        "e5",
        "é",
        "# {",
    ]
)


@settings(max_examples=300)
@given(st.lists(fragments, max_size=60).map("".join))
def test_almost_valid_text_gives_the_same_samples_warm_as_cold(page):
    assert ours(page, 3) == ours(page, 1)


@settings(max_examples=60)
@given(st.sampled_from([path.read_bytes() for path in PAGES]), st.data())
def test_damaged_real_page_loses_only_damaged_lines(body, data):
    start = data.draw(st.integers(0, len(body) - 1))
    stop = data.draw(st.integers(start, min(len(body), start + 200)))
    damaged = body[:start] + data.draw(st.binary(max_size=20)) + body[stop:]
    untouched = set(body[:start].split(b"\n")[:-1]) | set(body[stop:].split(b"\n")[1:])
    lines = {line for line in untouched if line and not line.startswith(b"#")}
    recorder = Recorder(budget_bytes=1 << 22, interval_s=10)
    recorder.record_page("node", body, 0)
    report = recorder.record_page("node", damaged, 1)
    assert report.series >= len(lines)


stamped_lines = st.builds(
    "{} {}{}".format,
    st.sampled_from(["a", "b", 'c{x="1 7"}', 'c{x="2"}', "# TYPE a gauge", "# HELP b of 7", ""]),
    st.sampled_from(["1", "2.5", "7", "NaN", "seven"]),
    st.sampled_from([" 7", " 7", " 7", " 7", " 8", " 6", "", " 7\r", ' 7 # {x="1"} 1', " 7 7"]),
)


@settings(max_examples=400)
@given(st.lists(stamped_lines, max_size=40), st.sampled_from(["\n", "", "\r\n", "\n# EOF\n"]))
def test_page_of_stamped_lines_gives_the_same_samples_warm_as_cold(lines, end):
    known = 'a 0 7\nb 0 7\nc{x="1 7"} 0 7\nc{x="2"} 0 7\n'
    page = known + "\n".join(lines) + end
    assert ours(page, 3) == ours(page, 1)

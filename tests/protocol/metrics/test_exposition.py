# SPDX-License-Identifier: Apache-2.0
"""The text page: values, escapes, blocks, merging (upstream-proxy §7.4, H08-H15)."""

import math
import re
import time
from array import array
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fodc_protocol.metrics.families import FamilyBlock, blocks_of
from fodc_protocol.metrics.grammar import (
    escape_help,
    escape_value,
    format_value,
    format_values,
    render_labels,
    sample_prefix,
)
from fodc_protocol.metrics.page import FleetPage, merge, render_page
from fodc_protocol.metrics.samples import ABSENT, MetricType, Sample, Series

RECORDED = Path(__file__).parents[2] / "data" / "exposition" / "fleet.prom"
GAUGE, COUNTER, HISTOGRAM, SUMMARY, UNTYPED = list(MetricType)[1:]
BARE = MetricType.UNSPECIFIED


def sample(name, value=1.0, kind=GAUGE, text="", **labels):
    return Sample(Series(name, tuple(labels.items()), kind, text), value)


def page(*samples):
    return render_page(blocks_of(samples)).decode()


def fleet(*agents):
    return b"".join(merge([blocks_of(samples) for samples in agents])).decode()


def type_lines(text):
    return re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)


# ---- numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (100.0, "100"),
        (75.5, "75.5"),
        (0.001, "0.001"),
        (0.00000025, "0.00000025"),
        (1000000.0, "1000000"),
        (-50.5, "-50.5"),
        (0.0, "0"),
        (-0.0, "-0"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (1e21, "1" + "0" * 21),
        (-1.5e22, "-15" + "0" * 21),
        (1.25e-7, "0.000000125"),
        (5e-324, "0." + "0" * 323 + "5"),
        (1.7976931348623157e308, "17976931348623157" + "0" * 292),
        (123456789012345680.0, "123456789012345680"),
    ],
)
def test_h10_numbers_are_shortest_decimals_without_exponent(value, text):
    assert format_value(value) == text


@given(st.floats(allow_nan=False))
def test_number_reads_back_as_the_same_value(value):
    text = format_value(value)
    assert "e" not in text.lower()
    assert float(text) == value
    assert math.copysign(1, float(text)) == math.copysign(1, value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_number_has_the_digits_of_repr(value):
    assert Decimal(format_value(value)) == Decimal(repr(value))


# ---- escapes and labels ---------------------------------------------------------------------


def test_h15_label_value_is_escaped_in_one_pass():
    assert escape_value('a"b\\c\nd\\n') == 'a\\"b\\\\c\\nd\\\\n'


def test_help_is_escaped_where_upstream_breaks_the_page():
    """[BUG] upstream prints a newline of a description as it is; we escape it."""
    assert escape_help('one\ntwo \\ "three"') == 'one\\ntwo \\\\ "three"'
    text = page(sample("x", text="one\n# TYPE y counter"))
    assert text == "# HELP x one\\n# TYPE y counter\n# TYPE x gauge\nx 1\n"


def test_labels_are_sorted_by_the_rendered_pair():
    labels = (("b", "2"), ("a", "1"), ("ab", "0"), ("a_", "3"))
    assert render_labels(labels) == '{a="1",a_="3",ab="0",b="2"}'
    assert render_labels(()) == ""


def test_illegal_names_cost_a_character_not_the_page():
    assert sample_prefix("a-b.c", (("node_app.io/x", "1"), ("9", "2"))) == (
        'a_b_c{_9="2",node_app_io_x="1"}'
    )
    assert render_labels((("a.b", "first"), ("a_b", "second"))) == '{a_b="first"}'


def test_names_that_become_equal_share_one_family():
    samples = [sample("a-b", 1.0), sample("a_b", 2.0, i="2")]
    assert page(*samples) == '# TYPE a_b gauge\na_b 1\na_b{i="2"} 2\n'
    foreign = [FamilyBlock(name, GAUGE, "", b"a_b 1\n", 1) for name in ("a-b", "a_b")]
    assert type_lines(render_page(foreign).decode()) == [("a_b", "gauge")]


# ---- one agent ------------------------------------------------------------------------------


def test_h08_empty_page_is_empty_text():
    assert page() == ""


def test_h08_page_has_help_and_type():
    text = page(sample("b", 2.0, COUNTER, "Bees."), sample("a", 0.5, zone="z1"))
    assert text == ('# TYPE a gauge\na{zone="z1"} 0.5\n# HELP b Bees.\n# TYPE b counter\nb 2\n')


def test_absent_samples_are_left_out_and_nan_is_kept():
    assert page(sample("x", ABSENT, i="1"), sample("x", math.nan, i="2")) == (
        '# TYPE x gauge\nx{i="2"} NaN\n'
    )
    assert page(sample("x", ABSENT)) == ""


def test_h08_untyped_components_make_one_histogram_beside_a_gauge():
    text = page(
        sample("h_sum", 3.0, BARE),
        sample("h_bucket", 2.0, BARE, le="+Inf"),
        sample("a", 5.0, BARE),
        sample("h_count", 2.0, BARE),
    )
    assert type_lines(text) == [("h", "histogram"), ("a", "gauge")]
    assert len(text.splitlines()) == 6


def test_bare_bucket_name_is_a_gauge():
    assert type_lines(page(sample("_bucket", 1.0, BARE))) == [("_bucket", "gauge")]


def test_untyped_bucket_beside_bare_name_gives_one_type_line_each():
    """[BUG] upstream prints two TYPE lines for x; with the bare name there is no guess here."""
    text = page(
        sample("x_bucket", 1.0, BARE, le="1"), sample("x", 2.0, BARE), sample("x_count", 1.0, BARE)
    )
    assert type_lines(text) == [("x", "gauge"), ("x_bucket", "gauge"), ("x_count", "gauge")]


def test_h13_typed_counter_keeps_its_type_and_whole_name():
    text = page(sample("a_total", 1.0, COUNTER), sample("requests_count", 2.0, COUNTER))
    assert type_lines(text) == [("a_total", "counter"), ("requests_count", "counter")]


def test_h13_summary_quantiles_and_components_share_one_type():
    text = page(
        sample("s_count", 3.0, SUMMARY),
        sample("s", 0.9, SUMMARY, quantile="0.99"),
        sample("s_sum", 2.0, SUMMARY),
        sample("s", 0.5, SUMMARY, quantile="0.5"),
    )
    assert text == (
        '# TYPE s summary\ns{quantile="0.5"} 0.5\ns{quantile="0.99"} 0.9\ns_sum 2\ns_count 3\n'
    )


def test_buckets_come_in_ascending_order_per_instance():
    """[BUG] upstream prints buckets in random order."""
    bounds = ["+Inf", "10", "0.5", "2"]
    samples = [sample("h_count", 4.0, HISTOGRAM, g="b"), sample("h_sum", 9.0, HISTOGRAM, g="a")]
    samples += [sample("h_bucket", 1.0, HISTOGRAM, le=le, g=g) for le in bounds for g in "ba"]
    lines = page(*samples).splitlines()[1:]
    assert [line.partition(" ")[0] for line in lines] == [
        'h_bucket{g="a",le="0.5"}',
        'h_bucket{g="a",le="2"}',
        'h_bucket{g="a",le="10"}',
        'h_bucket{g="a",le="+Inf"}',
        'h_sum{g="a"}',
        'h_bucket{g="b",le="0.5"}',
        'h_bucket{g="b",le="2"}',
        'h_bucket{g="b",le="10"}',
        'h_bucket{g="b",le="+Inf"}',
        'h_count{g="b"}',
    ]


def test_odd_bounds_do_not_raise():
    samples = [sample("h_bucket", 1.0, HISTOGRAM, le=le) for le in ("x", "", "NaN", "1")]
    assert blocks_of(samples)[0].samples == 4


def test_blocks_count_samples_and_take_the_first_help():
    blocks = blocks_of([sample("x", i="1"), sample("x", text="Later.", i="2")])
    assert blocks == [FamilyBlock("x", GAUGE, "Later.", b'x{i="1"} 1\nx{i="2"} 1\n', 2)]


def test_prefixes_are_rendered_once_when_they_are_kept():
    prefixes = {}
    first = blocks_of([sample("x", 1.0, i="1")], prefixes)
    prefixes[Series("x", (("i", "1"),), GAUGE)] = "kept"
    assert first[0].text == b'x{i="1"} 1\n'
    assert blocks_of([sample("x", 2.0, i="1")], prefixes)[0].text == b"kept 2\n"


# ---- many agents ----------------------------------------------------------------------------


def test_h12_families_are_sorted_and_agents_keep_their_order():
    text = fleet([sample("b", 1.0, a="1"), sample("a", 1.0)], [sample("b", 2.0, a="0")])
    assert text == '# TYPE a gauge\na 1\n# TYPE b gauge\nb{a="1"} 1\nb{a="0"} 2\n'


def test_h14_untyped_sample_joins_the_typed_family_of_another_agent():
    text = fleet([sample("x", 1.0, BARE, "Help.", a="1")], [sample("x", 2.0, COUNTER, a="2")])
    assert text == '# HELP x Help.\n# TYPE x counter\nx{a="2"} 2\nx{a="1"} 1\n'


def test_h14_untyped_components_join_the_typed_histogram():
    text = fleet(
        [sample("h_bucket", 1.0, BARE, le="1"), sample("h_count", 1.0, BARE)],
        [sample("h_bucket", 2.0, HISTOGRAM, le="1", a="2")],
    )
    assert type_lines(text) == [("h", "histogram")]
    assert len(text.splitlines()) == 4


def test_conflicting_types_merge_under_the_first():
    text = fleet([sample("x", 1.0, GAUGE)], [sample("x", 2.0, COUNTER, "Text.", a="2")])
    assert text == '# HELP x Text.\n# TYPE x gauge\nx 1\nx{a="2"} 2\n'


def test_typed_component_of_a_histogram_is_absorbed():
    """Differs from upstream: a TYPE for x_count after a histogram x makes Go's parser fail."""
    text = fleet(
        [sample("x_bucket", 1.0, HISTOGRAM, le="1")], [sample("x_count", 2.0, COUNTER, a="2")]
    )
    assert type_lines(text) == [("x", "histogram")]


def test_untyped_kind_is_a_type_of_its_own():
    assert type_lines(page(sample("u_count", 1.0, UNTYPED))) == [("u_count", "untyped")]


def test_fleet_page_can_be_read_twice_and_grow_between():
    growing = FleetPage()
    growing.add(blocks_of([sample("x", 1.0, COUNTER), sample("x_count", 1.0, BARE)]))
    first = b"".join(growing.families())
    assert b"".join(growing.families()) == first
    growing.add(blocks_of([sample("x", 2.0, COUNTER, a="2")]))
    assert b"".join(growing.families()).count(b"\n") == first.count(b"\n") + 1


# ---- against recordings and another parser --------------------------------------------------

SAMPLE_LINE = re.compile(r"(?P<name>[^{ ]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')


def recorded_agents(text):
    """Take a recorded fleet page apart into samples by pod."""
    agents, kind, help_text = {}, BARE, ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            help_text = line.split(" ", 3)[3]
        elif line.startswith("# TYPE "):
            name, word = line.split(" ")[2:]
            kind = MetricType[word.upper()]
            family, text_of_family = name, help_text
            help_text = ""
        else:
            found = SAMPLE_LINE.fullmatch(line)
            labels = tuple(LABEL.findall(found["labels"] or ""))
            description = text_of_family if found["name"] == family else ""
            series = Series(found["name"], labels, kind, description)
            agents.setdefault(dict(labels).get("pod_name"), []).append(
                Sample(series, float(found["value"]))
            )
    return list(agents.values())


def families_with_sorted_samples(text):
    families = re.split(r"(?m)^(?=# HELP|(?<!HELP )# TYPE)", text)
    return sorted("\n".join(sorted(family.splitlines())) for family in families)


def test_merged_page_equals_the_recorded_one_up_to_the_order_of_samples():
    recorded = RECORDED.read_text()
    ours = fleet(*recorded_agents(recorded))
    assert families_with_sorted_samples(ours) == families_with_sorted_samples(recorded)
    heads = [line for line in ours.splitlines() if line.startswith("#")]
    assert heads == [line for line in recorded.splitlines() if line.startswith("#")]


names = st.sampled_from(
    [
        "x",
        "x_bucket",
        "x_sum",
        "x_count",
        "x_count_sum",
        "x_sum_count",
        "y",
        "y_total",
        "_sum",
        "x-sum",
    ]
)
labels = st.dictionaries(
    st.sampled_from(["le", "quantile", "pod_name", "a"]), st.text(max_size=6), max_size=3
).map(lambda pairs: tuple(pairs.items()))
series = st.builds(Series, names, labels, st.sampled_from(MetricType), st.text(max_size=8))
agents = st.lists(
    st.lists(st.builds(Sample, series, st.floats()), max_size=8), min_size=1, max_size=4
)


@given(agents)
def test_one_type_per_family_and_no_sample_lost_whatever_agents_send(pages):
    text = fleet(*pages)
    counts = Counter(name for name, _ in type_lines(text))
    assert set(counts.values()) <= {1}
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert len(lines) == sum(map(len, pages))


@given(agents)
def test_untyped_guesses_never_stand_above_a_second_type(pages):
    untyped = [
        [Sample(Series(one.series.name, one.series.labels), one.value) for one in samples]
        for samples in pages
    ]
    text = fleet(*untyped)
    for family in re.split(r"(?m)^(?=# TYPE)", text)[1:]:
        name = family.split(" ")[2]
        samples = re.findall(r"(?m)^([^#{ \n][^{ \n]*)", family)
        assert all(one == name or one.rpartition("_")[0] == name for one in samples)


plain_text = st.text(st.characters(codec="utf-8"), max_size=12)
gauges = st.dictionaries(
    st.dictionaries(st.sampled_from(["a", "b", "pod_name"]), plain_text, max_size=3).map(
        lambda pairs: tuple(sorted(pairs.items()))
    ),
    st.floats(allow_nan=False),
    min_size=1,
    max_size=5,
)


@given(gauges, plain_text)
def test_page_round_trips_through_another_parser(values, text):
    """The peer splits lines at "\\n" only where it is fed a file, hence no other line breaks."""
    samples = [Sample(Series("x", pairs, GAUGE, text), value) for pairs, value in values.items()]
    (family,) = text_string_to_metric_families(page(*samples))
    read = {tuple(sorted(one.labels.items())): float(one.value) for one in family.samples}
    assert read == values
    assert (family.name, family.type) == ("x", "gauge")


def test_merging_a_hundred_agents_is_joining_bytes():
    """100 agents x 2,000 series: under 20 ms of a core, with a margin for a slow one."""
    blocks = [
        FamilyBlock(f"f{i}", GAUGE, "h", b'f{a="1",b="2"} 123456\n' * 5, 5) for i in range(400)
    ]
    best = math.inf
    for _ in range(5):
        started = time.thread_time()
        size = sum(map(len, merge([blocks] * 100)))
        best = min(best, time.thread_time() - started)
    assert size > 4_000_000
    assert best < 0.1


@given(st.lists(st.floats() | st.integers(-(2**60), 2**60).map(float), max_size=20))
def test_many_values_are_written_as_each_of_them_is(values):
    alone = [format_value(value).encode() for value in values]
    assert format_values(array("d", values)) == alone

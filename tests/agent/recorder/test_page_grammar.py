# SPDX-License-Identifier: Apache-2.0
"""What a page of text becomes: T-PARSE-01..39 and T-KEY of the existing agent, by outcome.

Where the existing parser loses data by accident (W-07, W-08, anchor failure 6) we differ on
purpose, and the test says so. Internals of that parser (key strings, order of its label slice) have
no counterpart: labels are kept sorted by name.
"""

import math

import pytest

from fodc_agent.recorder.lines import SkipReason
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.recorder.track import PageReport
from fodc_protocol.metrics.samples import MetricType, Sample


def read(page: str | bytes) -> tuple[list[Sample], PageReport]:
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    body = page.encode() if isinstance(page, str) else page
    report = recorder.record_page("node", body, 1_000)
    return list(recorder.latest_samples()), report


def values(page: str | bytes) -> dict[str, float]:
    return {key(sample): sample.value for sample in read(page)[0]}


def key(sample: Sample) -> str:
    labels = ",".join(f"{name}={value}" for name, value in sample.series.labels)
    return f"{sample.series.name}[{labels}]" if labels else sample.series.name


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("cpu_usage 75.5\n", {"cpu_usage": 75.5}),  # T-PARSE-01
        ("http_requests_total 1234\n", {"http_requests_total": 1234.0}),  # T-PARSE-02
        ('m{a="1"} 2\n', {"m[a=1]": 2.0}),  # T-PARSE-03
        ('m{b="2",a="1"} 2\n', {"m[a=1,b=2]": 2.0}),  # T-PARSE-04, T-KEY-03: sorted
        ("# TYPE m gauge\nm 1\n", {"m": 1.0}),  # T-PARSE-07
        ("\n\nm 1\n\n\n", {"m": 1.0}),  # T-PARSE-08
        ("# just words\nm 1\n#\n", {"m": 1.0}),  # T-PARSE-09
        ("", {}),  # T-PARSE-29
        ("# one\n# two\n", {}),  # T-PARSE-29
        ('m{a="1",} 2\n', {"m[a=1]": 2.0}),
        ('m { a = "1" , b = "2" } 2\n', {"m[a=1,b=2]": 2.0}),
        ("m{} 42\n", {"m": 42.0}),  # T-PARSE-13: legal, upstream drops it
        (
            'm{label="value{with}braces"} 42\n',
            {"m[label=value{with}braces]": 42.0},
        ),  # T-PARSE-14, W-07
        ('m{a=""} 1\n', {"m": 1.0}),  # A32: no label, as upstream
        ('m{a="",b="x"} 1\n', {"m[b=x]": 1.0}),
        ('m{a="x, y=\\"z\\""} 1\n', {'m[a=x, y="z"]': 1.0}),
        ('m{a="# no comment"} 1\n', {"m[a=# no comment]": 1.0}),
        ("ns:rule:sum 1\n", {"ns:rule:sum": 1.0}),  # anchor failure 6: vanished
    ],
)
def test_t_parse_page_becomes_samples(page, expected):
    assert values(page) == expected


@pytest.mark.parametrize(
    "name", ["", "invalid{", "invalid}", '{label="value"}', "metric name", "metric-name"]
)
def test_t_exp_04_what_is_no_name_of_a_series_becomes_none(name):
    """By the place where lines are read: the existing agent kept keys as texts and read them."""
    assert values(f"{name} 1\ngood 2\n") == {"good": 2.0}


@pytest.mark.parametrize(
    "value",
    ["/a/b", "two words", "a-b", "a_b", "k=v", "a:b", "a,b", "数据节点", "}", "{", "x} 5", "1 2"],
)
def test_t_parse_10_label_value_is_intact(value):
    assert values(f'm{{a="{value}",z="end"}} 3\n') == {f"m[a={value},z=end]": 3.0}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"value\"with\"quotes", 'value"with"quotes'),  # T-PARSE-11: upstream cuts at the quote
        (r"C:\\dir\\file", r"C:\dir\file"),  # T-PARSE-12
        (r"line\nbreak", "line\nbreak"),
        (r"\\n", r"\n"),
        (r"\\\"", '\\"'),
        (r"\x", r"\x"),  # no escape of the format: kept as it is
    ],
)
def test_t_parse_11_12_escapes_are_honoured(written, meant):
    assert values(f'm{{a="{written}"}} 1\n') == {f"m[a={meant}]": 1.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("-17", -17.0),
        ("+17", 17.0),
        ("1.23e+10", 1.23e10),
        ("1.23e-5", 1.23e-5),
        ("1.7976931348623157e+308", 1.7976931348623157e308),
        ("2.2250738585072014e-308", 2.2250738585072014e-308),
        ("+Inf", math.inf),
        ("-Inf", -math.inf),
        ("Inf", math.inf),
        ("infinity", math.inf),
        ("0x1p4", 16.0),
        ("-0X1.8P1", -3.0),
        ("1_000", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e999", math.inf),
    ],
)
def test_t_parse_16_18_number_is_read_as_go_reads_it(text, value):
    page = f"m {text}\n"
    assert values(page) == {"m": value}


@pytest.mark.parametrize("text", ["NaN", "nan", "-NaN"])
def test_t_parse_17_nan_is_a_sample(text):
    samples, report = read(f"m {text}\n")
    assert (len(samples), report.series, math.isnan(samples[0].value)) == (1, 1, True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m invalid_value", SkipReason.BAD_VALUE),  # T-PARSE-19: upstream refuses the page
        ("m 0x10", SkipReason.BAD_VALUE),
        ("m 0x1p99999", SkipReason.BAD_VALUE),
        ("m \uff11\uff12", SkipReason.BAD_VALUE),
        ("m 1__0", SkipReason.BAD_VALUE),
        ("123invalid_name 42", SkipReason.BAD_NAME),  # T-PARSE-23: upstream takes it
        ("metric-name 42", SkipReason.BAD_NAME),  # T-PARSE-24
        ('{a="b"} 42', SkipReason.BAD_NAME),
        ('{"quoted.name",a="b"} 42', SkipReason.BAD_NAME),
        ('m{label="value"', SkipReason.BAD_LABELS),  # T-PARSE-30
        ('m{label="value" 42', SkipReason.BAD_LABELS),
        ('m{label="value"}', SkipReason.MISSING_VALUE),
        ("m", SkipReason.MISSING_VALUE),
        ("m{label=value} 42", SkipReason.BAD_LABELS),  # T-PARSE-31
        ('m{label="value} 42', SkipReason.BAD_LABELS),
        ('m{label="a"b="c"} 42', SkipReason.BAD_LABELS),
        ('m{label="a",,b="c"} 42', SkipReason.BAD_LABELS),
        ('m{,a="b"} 42', SkipReason.BAD_LABELS),
        ('m{1a="b"} 42', SkipReason.BAD_LABELS),
        ('m{a:b="c"} 42', SkipReason.BAD_LABELS),
        ('m{a="1",a="2"} 42', SkipReason.DUPLICATE_LABEL),
        ("m 42 noon", SkipReason.BAD_TIMESTAMP),
        ("m 42 --7", SkipReason.BAD_TIMESTAMP),
        ("m 42\u00a017", SkipReason.BAD_VALUE),
        ("m 42 17 18", SkipReason.TRAILING_TEXT),
        ("m 42 # not an exemplar", SkipReason.TRAILING_TEXT),
        ("\x00\x01", SkipReason.BAD_NAME),
        ("m" * 70_000 + " 1", SkipReason.TOO_LONG),
    ],
)
def test_w08_one_bad_line_is_skipped_and_counted(line, reason):
    page = f"before 1\n{line}\nafter 2\n"
    samples, report = read(page)
    assert {key(sample): sample.value for sample in samples} == {"before": 1.0, "after": 2.0}
    assert report.skipped == {reason: 1}


def test_w08_line_that_is_no_utf8_is_skipped():
    samples, report = read(b'before 1\nm{a="\xff"} 2\nafter 3\n')
    assert [key(sample) for sample in samples] == ["before", "after"]
    assert report.skipped == {SkipReason.NOT_UTF8: 1}


def test_t_parse_15_newline_in_a_value_skips_both_halves():
    assert values('m{a="one\ntwo"} 3\nafter 1\n') == {"after": 1.0}


@pytest.mark.parametrize(
    "line",
    [
        "m 42 1700000000000",
        "m 42 -5",
        "m 42 1700000000.123",
        'm 42 # {trace_id="a b"} 0.67',
        'm 42 1700000000 # {trace_id="abc"} 0.67 1700000000',
        "\t m \t 42 \t",
        "m\t42",
        "m   42   ",
        "m 42 +17",
    ],
)
def test_w08_timestamp_exemplar_and_blanks_are_tolerated(line):
    assert values(f"{line}\nafter 1\n") == {"m": 42.0, "after": 1.0}


def test_w08_stamped_lines_stay_readable_when_the_page_comes_again():
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    recorder.record_page("node", b'm{a="1"} 1\n', 0)
    for turn in range(1, 4):
        page = f'm{{a="1"}} {turn} 17000000{turn}\n'.encode()
        report = recorder.record_page("node", page, turn)
        assert (report.series, dict(report.skipped)) == (1, {})
    assert recorder.value("m") == 3.0


def test_known_line_that_turns_bad_is_skipped_and_recovers():
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    recorder.record_page("node", b"m 1\n", 0)
    bad = recorder.record_page("node", b"m one\n", 1)
    assert (bad.series, dict(bad.skipped)) == (0, {SkipReason.BAD_VALUE: 1})
    assert recorder.record_page("node", b"m 0x1p1\n", 2).series == 1
    assert recorder.value("m") == 2.0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_t_parse_28_line_endings(end):
    page = end.join(['m{a="1"} 1', "n 2", "o 3"]) + end
    assert values(page) == {"m[a=1]": 1.0, "n": 2.0, "o": 3.0}
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    for at in range(3):
        assert recorder.record_page("node", page.encode(), at).series == 3


def test_page_without_final_newline_keeps_its_last_line():
    assert values("a 1\nb 2") == {"a": 1.0, "b": 2.0}


def test_last_of_several_lines_for_one_series_wins_and_is_counted():
    samples, report = read('m{a="1",b="2"} 1\nm{b="2",a="1"} 2\nm{a="1",b="2"} 3\n')
    assert [(key(sample), sample.value) for sample in samples] == [("m[a=1,b=2]", 3.0)]
    assert (report.series, report.duplicates) == (1, 2)


def test_t_parse_05_06_help_and_type_are_attached():
    page = "# HELP a About a.\n# HELP b About b.\n# TYPE a counter\n# TYPE b gauge\na 1\nb 2\n"
    found = [(one.series.name, one.series.type, one.series.help) for one in read(page)[0]]
    assert found == [("a", MetricType.COUNTER, "About a."), ("b", MetricType.GAUGE, "About b.")]


def test_t_parse_32_late_help_serves_the_whole_family():
    """Upstream leaves the first sample without; a family has one HELP, so both get it here."""
    samples, _ = read('m{a="1"} 1\n# HELP m Late.\n# TYPE m counter\nm{a="2"} 2\n')
    assert [(one.series.help, one.series.type) for one in samples] == [
        ("Late.", MetricType.COUNTER)
    ] * 2


@pytest.mark.parametrize(
    "broken", ["# HELP", "# HELP ", "# HELP 1x y", "# TYPE", "# TYPE m", "#HELP"]
)
def test_t_parse_33_malformed_comment_does_not_disturb_later_ones(broken):
    samples, _ = read(f"{broken}\n# HELP m Good.\n# TYPE m gauge\nm 1\n")
    assert [(one.series.help, one.series.type) for one in samples] == [("Good.", MetricType.GAUGE)]


def test_help_is_unescaped():
    assert (
        read("# HELP m one\\ntwo \\\\ three \\x\nm 1\n")[0][0].series.help
        == "one\ntwo \\ three \\x"
    )


def test_t_parse_20_35_histogram_components_share_the_family():
    """Upstream gives components no description; ours carry that of their family."""
    page = (
        "# HELP lat Latency.\n# TYPE lat histogram\n"
        'lat_bucket{le="0.1"} 1\nlat_bucket{le="0.5"} 2\nlat_bucket{le="+Inf"} 3\n'
        "lat_count 3\nlat_sum 4.5\n"
    )
    samples, _ = read(page)
    assert [key(one) for one in samples] == [
        "lat_bucket[le=0.1]",
        "lat_bucket[le=0.5]",
        "lat_bucket[le=+Inf]",
        "lat_count",
        "lat_sum",
    ]
    assert {one.series.type for one in samples} == {MetricType.HISTOGRAM}


def test_t_parse_21_summary():
    page = (
        "# HELP s About.\n# TYPE s summary\n"
        's{quantile="0.5"} 1\ns{quantile="0.9"} 2\ns{quantile="0.99"} 3\ns_sum 6\ns_count 3\n'
    )
    samples, _ = read(page)
    assert [(key(one), one.series.type, one.series.help) for one in samples][2:4] == [
        ("s[quantile=0.99]", MetricType.SUMMARY, "About."),
        ("s_sum", MetricType.SUMMARY, "About."),
    ]


def test_suffix_counts_as_component_only_of_a_histogram_or_summary():
    page = "# TYPE x gauge\nx 1\nx_count 2\n# TYPE h histogram\n# TYPE h_sum counter\nh_sum 3\n"
    assert [(one.series.name, one.series.type) for one in read(page)[0]] == [
        ("x", MetricType.GAUGE),
        ("x_count", MetricType.UNSPECIFIED),
        ("h_sum", MetricType.COUNTER),
    ]


def test_t_parse_22_counter_with_four_label_sets():
    page = "# TYPE c counter\n" + "".join(f'c{{code="{n}"}} {n}\n' for n in (200, 404, 500, 503))
    assert [one.value for one in read(page)[0]] == [200.0, 404.0, 500.0, 503.0]


@pytest.mark.parametrize(
    "line", ["m_1_x 1", f"{'n' * 1000} 1", f'm{{a="{"v" * 1000}"}} 1', 'm{l1_2="x"} 1']
)
def test_t_parse_25_26_27_long_and_odd_names_are_fine(line):
    assert list(values(line + "\n").values()) == [1.0]


def test_t_parse_34_thousand_lines():
    head = "# HELP m About.\n"
    page = head + "".join(f'm{{a="{n}",b="x",c="y"}} {n}\n' for n in range(1000))
    samples, report = read(page)
    assert (len(samples), report.series, report.new_series) == (1000, 1000, 1000)
    assert {(len(one.series.labels), one.series.help) for one in samples} == {(3, "About.")}


def test_type_that_changes_moves_the_series_to_its_new_family():
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    recorder.record_page("node", b'h_bucket{le="1"} 1\nh_sum 2\nh_count 1\n', 0)
    assert [block.name for block in recorder.latest().blocks] == ["h_bucket", "h_sum", "h_count"]
    typed = b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 2\nh_count 1\n'
    recorder.record_page("node", typed, 1)
    blocks = recorder.latest().blocks
    assert [(one.name, one.type, one.samples) for one in blocks] == [("h", MetricType.HISTOGRAM, 3)]
    plain = typed.replace(b"h histogram", b"h gauge")
    recorder.record_page("node", plain, 2)
    recorder.record_page("node", typed, 3)
    assert [one.type for one in recorder.latest().blocks] == [MetricType.HISTOGRAM]


def test_t_ds_04_missing_help_and_type_do_not_overwrite():
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    recorder.record_page("node", b"# HELP m About.\n# TYPE m counter\nm 1\n", 0)
    recorder.record_page("node", b"m 2\n", 1)
    series = next(recorder.latest_samples()).series
    assert (series.type, series.help) == (MetricType.COUNTER, "About.")


IDENTITY = (("node_role", "ROLE_DATA"), ("pod_name", "data-0"), ("container_name", "data"))


@pytest.mark.parametrize(
    ("line", "identity", "expected"),
    [
        ('m{a="1"} 1', IDENTITY, {"a": "1", **dict(IDENTITY)}),  # T-PARSE-36
        ("m 1", (("node_role", ""), ("pod_name", "data-0")), {"pod_name": "data-0"}),  # T-PARSE-37
        ('m{a="1"} 1', (), {"a": "1"}),  # T-PARSE-38
        (
            'm{type="file"} 1',
            (("node_type", "hot"), ("node_empty", "")),
            {"type": "file", "node_type": "hot"},
        ),  # T-PARSE-39
        ('m{pod_name="own"} 1', IDENTITY, {**dict(IDENTITY), "pod_name": "own"}),  # W-07
    ],
)
def test_t_parse_36_39_identity_labels(line, identity, expected):
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    recorder.record_page("node", line.encode(), 0)
    recorder.set_identity(None, identity)
    labels = next(recorder.latest_samples()).series.labels
    assert (dict(labels), len(labels)) == (expected, len(expected))


def test_stamp_is_checked_as_strictly_on_a_known_line():
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    recorder.record_page("node", b"m 1\n", 0)
    report = recorder.record_page("node", b"m 2 --7\n", 1)
    assert dict(report.skipped) == {SkipReason.BAD_TIMESTAMP: 1}


@pytest.mark.parametrize("tail", ["", " 1700000000000", ' # {a="b c"} 9'])
def test_value_is_never_taken_for_part_of_the_name_nor_a_stamp_for_the_value(tail):
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    for at, stamp in enumerate((1000, 2000, 2000)):
        line = f'm{{a="x 1"}} 5 {stamp}{tail if "#" in tail else ""}\nn 5{tail}\n'
        recorder.record_page("node", line.encode(), at)
        assert (recorder.value("m"), recorder.value("n")) == (5.0, 5.0)


def test_type_and_help_may_change_back_and_forth():
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    seen = []
    for at, kind in enumerate(("gauge", "counter", "gauge", "counter")):
        page = f"# HELP m This is a {kind}.\n# TYPE m {kind}\nm 1\n"
        recorder.record_page("node", page.encode(), at)
        seen += [(block.type.text, block.help) for block in recorder.latest().blocks]
    assert seen == [(kind, f"This is a {kind}.") for kind in ("gauge", "counter") * 2]


@pytest.mark.parametrize("type_comes", ["before", "after"])
def test_a13_a_summary_whose_own_name_ends_as_a_component_keeps_it(type_comes):
    samples = 'queue_count{quantile="0.5"} 1\nqueue_count_sum 2\nqueue_count_count 3\n'
    kind = "# TYPE queue_count summary\n"
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    page = kind + samples if type_comes == "before" else samples + kind
    recorder.record_page("node", page.encode(), 0)
    recorder.record_page("node", page.encode(), 1)
    (block,) = recorder.latest().blocks
    assert (block.name, block.type, block.samples) == ("queue_count", MetricType.SUMMARY, 3)

# SPDX-License-Identifier: Apache-2.0
"""`fodc freeze` and windows that are read from their files."""

import gzip
import json
import re

import pytest

from fodc_client.window_files import series_of
from tests.client.stage import Gives

TEXT = """\
# TYPE writes counter
# HELP writes Written so far.
writes_total{group="a\\"b",pod_name="data-0"} 1 1796000000.000
writes_total{group="a\\"b",pod_name="data-0"} 5 1796000010.500
# TYPE heap_bytes gauge
heap_bytes NaN 1796000000.000
heap_bytes 7 1796000010.500
# EOF
"""


@pytest.fixture
def two(stage):
    plans = {"window": Gives(gzip.compress(TEXT.encode())), "config": Gives(b"{}")}
    states = [(kind, "Supported", "", "") for kind in ("cpu", "window", "config")]
    for name in ("data-0", "data-1"):
        stage.agent(name, plans=plans, capabilities=states)


def captures(stage):
    (request,) = stage.proxy.diagnostics.engine.select()
    return request, [(str(c.profile), c.end_ms, c.span_s) for c in request.spec.captures]


def test_freeze_asks_every_node_for_its_window_in_one_request(fodc, stage, two, tmp_path):
    ran = fodc("freeze", "--output-dir", tmp_path)

    request, asked = captures(stage)
    assert asked == [("window", 0, 0)]
    assert request.spec.selector.all
    names = sorted(re.sub(r"\d{8}T\d{6}Z", "T", path.name) for path in tmp_path.iterdir())
    assert names == ["data-0-window-T.om.gz", "data-1-window-T.om.gz"]
    assert ran.code == 0


def test_freeze_around_an_instant_ends_after_it_and_keeps_the_settings_too(
    fodc, stage, two, tmp_path
):
    fodc(
        "freeze", "--at", "2026-11-21T09:00:00Z", "--before", "10m", "--after", "1m",
        "--config", "--node", "data-1", "--output-dir", tmp_path,
    )  # fmt: skip

    request, asked = captures(stage)
    assert asked == [("window", 1_795_251_660_000, 660), ("config", 0, 0)]
    assert request.spec.selector.names == ("data-1",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--after", "1m"), "--after needs --at"),
        (("--at", "2126-01-01T00:00:00Z"), "--at: the end has not come yet"),
        (("--at", "noon"), "'noon' is no time; expected something like 2026-11-29T03:00:00Z"),
    ],
)
def test_freeze_refuses_a_time_that_cannot_be(fodc, two, words, said):
    ran = fodc("freeze", *words)

    assert said in ran.err
    assert ran.code == 2


def test_capture_of_anything_else_takes_no_end(fodc, two):
    ran = fodc("capture", "cpu", "--all", "--span", "5m")

    assert "--span is for window: nothing else reaches back" in ran.err
    assert ran.code == 2


def test_a_captured_window_is_drawn_from_its_file(fodc, tmp_path):
    path = tmp_path / "w.om.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))

    ran = fodc("windows", path, "writes_total", "-o", "json")

    assert json.loads(ran.out) == [
        {
            "name": "writes_total",
            "labels": {"group": 'a"b', "pod_name": "data-0"},
            "pod_name": "data-0",
            "data": [
                {"timestamp": "2026-11-30T00:53:20Z", "value": 1},
                {"timestamp": "2026-11-30T00:53:30.5Z", "value": 5},
            ],
        }
    ]


def test_a_metric_that_the_file_does_not_hold_is_told_with_what_comes_close(fodc, tmp_path):
    path = tmp_path / "w.om.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))

    ran = fodc("windows", path, "heap_byte")

    assert "heap_bytes" in ran.err
    assert ran.code == 4


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"writes 1 1.0\n", mtime=0), b""])
def test_a_file_that_is_no_whole_window_is_refused(fodc, tmp_path, content):
    path = tmp_path / "w.om.gz"
    path.write_bytes(content)

    ran = fodc("windows", path, "writes")

    assert "cannot be read as a captured window" in ran.err
    assert ran.code == 1


def test_a_value_that_is_no_number_stays_a_word():
    (series, *_others) = series_of(TEXT.splitlines(keepends=True), "heap_bytes")

    assert [point.value for point in series.data] == ["NaN", 7]

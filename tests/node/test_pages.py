# SPDX-License-Identifier: Apache-2.0
"""The metrics page of the sample node: families, movement, consistency, size."""

import itertools
import re
import subprocess
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .asking import ask

ROLES = ("data", "liaison", "standalone")
RECORDED_SERIES = {"standalone": 381, "data": 229, "liaison": 203}


def samples_of(text):
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def types_of(text):
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def page_of(twin_page, role, *, t=0.0, series=0):
    table = twin_page.TABLE_PATH.read_text(encoding="utf-8")
    page = twin_page.Page(table=table, role=role, series=series, runtime_version="go1.24")
    return page.text(t, 1.7e9, {})


@pytest.mark.parametrize("role", ROLES)
def test_page_has_exactly_the_recorded_families_and_types_of_its_role(twin_page, families, role):
    assert types_of(page_of(twin_page, role)) == families(role)


@pytest.mark.parametrize("role", ROLES)
def test_page_has_as_many_series_as_the_recorded_one(twin_page, role):
    assert len(samples_of(page_of(twin_page, role))) == RECORDED_SERIES[role]


@pytest.mark.parametrize("role", ROLES)
def test_served_page_is_parsed_whole_and_has_the_families_of_its_role(
    running, variant, families, role
):
    with running.sample_node(role=role, prefer=variant) as node:
        said = ask(node.metrics_port, "/metrics")
    text = said.body.decode()
    assert types_of(text) == families(role)
    assert len(samples_of(text)) == RECORDED_SERIES[role]
    expected = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    assert said.headers["content-type"] == expected


def test_values_move_and_counters_never_fall_between_two_scrapes(shared_node):
    first = ask(shared_node.metrics_port, "/metrics").body.decode()
    time.sleep(0.05)  # the page is a function of time
    second = ask(shared_node.metrics_port, "/metrics").body.decode()
    before, after = samples_of(first), samples_of(second)
    assert sum(after[key] != value for key, value in before.items()) > 10
    counters = {name for name, kind in types_of(first).items() if kind == "counter"}
    fallen = [key for key, value in before.items() if key[0] in counters and after[key] < value]
    assert fallen == []


@pytest.mark.parametrize("role", ROLES)
def test_counters_and_histograms_never_fall_over_an_hour(twin_page, role):
    names = types_of(page_of(twin_page, role))
    rising = {name for name, kind in names.items() if kind in {"counter", "histogram"}}
    pages = [samples_of(page_of(twin_page, role, t=step * 0.7)) for step in range(0, 5000, 250)]
    for before, after in itertools.pairwise(pages):
        for (name, labels), value in before.items():
            if re.sub(r"_(bucket|sum|count)$", "", name) in rising or name in rising:
                assert after[name, labels] >= value, (name, labels)


@pytest.mark.parametrize("role", ROLES)
def test_histograms_are_cumulative_and_end_at_their_count(twin_page, role):
    for family in text_string_to_metric_families(page_of(twin_page, role, t=123.4)):
        if family.type != "histogram":
            continue
        groups: dict[tuple, list[float]] = {}
        for s in family.samples:
            key = tuple(sorted((n, v) for n, v in s.labels.items() if n != "le"))
            if s.name.endswith(("_bucket", "_count")):
                groups.setdefault(key, []).append(s.value)
        for values in groups.values():
            assert values == sorted(values)
            assert len(values) == 13
            assert values[-1] == values[-2]


@pytest.mark.parametrize("wanted", [500, 3000, 3007])
def test_page_is_padded_to_exactly_the_wanted_number_of_series(twin_page, wanted):
    assert len(samples_of(page_of(twin_page, "data", series=wanted))) == wanted


def test_page_is_never_cut_below_the_families_of_the_role(twin_page):
    assert len(samples_of(page_of(twin_page, "data", series=10))) == 229


def test_served_page_is_padded(running, variant):
    with running.sample_node(series=3000, prefer=variant) as node:
        text = ask(node.metrics_port, "/metrics").body.decode()
    assert len(samples_of(text)) == 3000


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("t", ["0", "0.1", "17.3", "86400.123"])
def test_both_variants_print_the_same_page_for_the_same_moment(
    running, variant, twin_page, role, t
):
    command = [*running.build.node_command(variant), "page"]
    flags = ["--role", role, "--at", t, "--series=600"]
    printed = subprocess.run([*command, *flags], capture_output=True, check=True, timeout=20)
    assert printed.stdout.decode() == page_of(twin_page, role, t=float(t), series=600)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-2e7, "-2e+07"),
        (999999.0, "999999"),
        (1e6, "1e+06"),
        (1234567.0, "1.234567e+06"),
        (25276514304.0, "2.5276514304e+10"),
        (1e-5, "1e-05"),
        (0.00012, "0.00012"),
        (1.8446744073709552e19, "1.8446744073709552e+19"),
    ],
)
def test_go_float_writes_numbers_as_the_go_client_does(twin_page, value, expected):
    assert twin_page.go_float(value) == expected


def test_table_with_an_unknown_shape_is_refused_by_name(twin_page):
    with pytest.raises(ValueError, match="up_time has the unknown shape 'jump'"):
        twin_page.table_families("up_time gauge d - jump 1", "data", "")

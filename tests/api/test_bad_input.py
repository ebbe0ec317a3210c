# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries that are refused: the sentence names field, value and what is allowed."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_api.bad_input import read_body, read_query
from fodc_api.cluster import ClusterQuery
from fodc_api.configuration import ConfigurationQuery
from fodc_api.requests import (
    CancelQuery,
    RequestQuery,
    RequestSpec,
    RequestsQuery,
)
from fodc_api.windows import MetricsQuery
from fodc_protocol.errors import FieldError
from fodc_protocol.profiles import Profile

KINDS = (
    "cpu, heap, allocs, goroutine, block, mutex, threadcreate, trace, window, config, "
    "oncpu, offcpu, readlatency, blocklatency or what a node's pprof index names"
)
PHASES = (
    "Pending, Queued, Running, Finalizing, Succeeded, PartiallySucceeded, Failed, Cancelled, "
    "Rejected"
)
ALL = {"target": {"all": True}, "captures": [{"profile": "cpu"}]}


def refused(body, kind=RequestSpec):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(FieldError) as caught:
        read_body(data, kind)
    return caught.value.field, caught.value.message


def test_smallest_body_gets_the_defaults():
    spec = read_body(json.dumps(ALL).encode(), RequestSpec)

    assert (spec.id, spec.purpose, spec.target.all) == (None, "", True)
    assert [(c.profile, c.duration_s) for c in spec.captures] == [(Profile.CPU, 30.0)]
    assert spec.execution.parallelism == 4


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"id": "A"}, "id", "must be 1 to 63 of a-z, 0-9 and '-' (a DNS label), got 'A'"),
        ({"target": {}}, "target", 'is empty; give names, roles or tiers, or say "all": true'),
        (
            {"target": {"all": True, "roles": ["data"]}},
            "target.all",
            "excludes names, roles and tiers; give one or the other",
        ),
        ({"target": {"all": 1}}, "target.all", "must be true or false, got 1"),
        (
            {"target": {"names": ["a", ""]}},
            "target.names[1]",
            "must be a text of 1 to 317 characters, got ''",
        ),
        ({"target": None}, "target", "must be an object, got None"),
        (
            {"target": {"all": True, "x": 1}},
            "target.x",
            "is unknown; has: names, roles, tiers, all, include_offline",
        ),
        ({"captures": []}, "captures", "must be a list of 1 to 8 items, got 0 items"),
        ({"captures": "cpu"}, "captures", "must be a list of 1 to 8 items, got 'cpu'"),
        (
            {"captures": [{"profile": "CPUU"}]},
            "captures[0].profile",
            f"must be one of {KINDS}, got 'CPUU'",
        ),
        (
            {"captures": [{}]},
            "captures[0].profile",
            f"is missing; it must be one of {KINDS}",
        ),
        (
            {"captures": [{"profile": "cpu"}, {"profile": "cpu"}]},
            "captures[1].profile",
            "cpu is there already; one cpu capture per request",
        ),
        (
            {"captures": [{"profile": "trace", "duration_seconds": 31}]},
            "captures[0].duration_seconds",
            "must be 1 to 30 for trace, got 31",
        ),
        (
            {"captures": [{"profile": "heap", "duration_seconds": 1}]},
            "captures[0].duration_seconds",
            "is not allowed for heap: it is taken in an instant",
        ),
        (
            {"captures": [{"profile": "cpu", "gc": True}]},
            "captures[0].gc",
            "is for heap only, not for cpu",
        ),
        (
            {"execution": {"parallelism": 17}},
            "execution.parallelism",
            "must be a whole number from 1 to 16, got 17",
        ),
        (
            {"execution": {"parallelism": True}},
            "execution.parallelism",
            "must be a whole number from 1 to 16, got True",
        ),
        (
            {"execution": {"failure_policy": "Never"}},
            "execution.failure_policy",
            "must be one of Continue, FailFast, got 'Never'",
        ),
        (
            {"execution": {"active_deadline_seconds": 29}},
            "execution.active_deadline_seconds",
            "is shorter than the cpu capture of 30 s",
        ),
        ({"purpose": 5}, "purpose", "must be a text of at most 256 characters, got 5"),
    ],
)
def test_wrong_field_is_named_with_its_value_and_what_is_allowed(change, field, words):
    assert refused({**ALL, **change}) == (field, f"{field} {words}")


def test_missing_field_is_named():
    assert refused({"captures": [{"profile": "cpu"}]}) == (
        "target",
        "target is missing; it must be an object",
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[NaN]", "NaN is no number of JSON"),
        (b"\xff\xfe{\x00}\x00", "invalid character"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_says_so(body, words):
    field, message = refused(body)

    assert field == "body"
    assert words in message


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\udc00\\ud800"', '"x\\ud83d"'])
def test_half_of_a_surrogate_pair_is_no_text(text):
    """Defect P2: such a reason was stored, and no list of requests could be written any more."""
    body = json.dumps(ALL)[:-1].encode() + f', "purpose": {text}}}'.encode()

    field, message = refused(body)

    assert field == "body"
    assert "half of a \\u pair" in message


def test_field_that_stands_there_twice_is_refused():
    assert refused(b'{"id":"a","id":"b"}') == ("id", "id is given more than once")


def test_large_object_of_unknown_names_is_refused_quickly():
    body = json.dumps({f"n{i}": 0 for i in range(80_000)}).encode()
    started = time.process_time()

    assert refused(body)[0] == "n0"

    assert time.process_time() - started < 2


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ROWS = st.lists(LEAVES, max_size=5) | st.dictionaries(st.text(), LEAVES, max_size=5)
INNER = LEAVES | ROWS
ANY = INNER | st.lists(INNER, max_size=5) | st.dictionaries(st.text(), INNER, max_size=5)
NAMES = st.sampled_from(["id", "target", "captures", "execution", "purpose", "names", "profile"])
NEAR = st.dictionaries(NAMES, ANY | st.lists(st.dictionaries(NAMES, ANY), max_size=9))


def field_told(body):
    """Return field and message of a refusal, or two empty texts for a body that is taken."""
    try:
        read_body(json.dumps(body).encode("utf-8", "surrogatepass"), RequestSpec)
    except FieldError as error:
        return error.field, error.message
    return "", ""


@given(ANY)
def test_whatever_the_body_it_is_taken_or_told_by_field(body):
    field, message = field_told(body)

    assert message.startswith(field)


@given(NEAR)
def test_nearly_right_bodies_are_taken_or_told_by_field(body):
    field, message = field_told({**ALL, **body})

    assert message.startswith(field)


@pytest.mark.parametrize(
    ("pairs", "kind", "message"),
    [
        ([("x", "1")], ClusterQuery, "x is no parameter here; accepted: role, node_id"),
        (
            [("role", "a"), ("role", "b")],
            ClusterQuery,
            "role is given more than once",
        ),
        ([("diff", "x")], ConfigurationQuery, "diff must be node or role or tier or time, got 'x'"),
        ([("mode", "halt")], CancelQuery, "mode must be one of stop, abort, got 'halt'"),
        (
            [("wait_seconds", "31")],
            RequestQuery,
            "wait_seconds must be a whole number from 0 to 30, got '31'",
        ),
        (
            [("phase", "running")],
            RequestsQuery,
            f"phase must be one of {PHASES}, got 'running'",
        ),
    ],
)
def test_wrong_parameter_is_named(pairs, kind, message):
    with pytest.raises(FieldError) as caught:
        read_query(pairs, kind)

    assert caught.value.message == message


def test_existing_routes_pass_over_what_they_do_not_know_and_take_the_first():
    query = read_query([("address", "x"), ("role", "a"), ("role", "b")], MetricsQuery)

    assert (query.role, query.pod_name) == ("a", "")

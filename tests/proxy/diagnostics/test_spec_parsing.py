# SPDX-License-Identifier: Apache-2.0
"""Bodies of POST /diagnostics/requests: what is taken and what is refused, by field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.fields import FieldError
from fodc_protocol.profiles import Profile
from fodc_proxy.diagnostics.model import (
    CancelMode,
    Capture,
    Execution,
    FailurePolicy,
    Phase,
    Request,
    RequestPhase,
    Result,
    Selector,
    Spec,
    Target,
)
from fodc_proxy.diagnostics.parsing import parse_request
from fodc_proxy.diagnostics.records import RecordError, dump_request, load_request
from fodc_proxy.http.requests import request_of

GOOD = {"target": {"names": ["pod-0"]}, "captures": [{"profile": "cpu"}]}


def test_smallest_body_gets_the_defaults():
    asked = parse_request(GOOD)
    assert asked.request_id == ""
    assert asked.spec == Spec(
        Selector(names=("pod-0",)),
        (Capture("cpu", Profile.CPU, 30.0),),
        Execution(4, 300, 900, 30, 1, FailurePolicy.CONTINUE),
    )


def test_full_body_is_read():
    asked = parse_request(
        {
            "id": "incident-7",
            "target": {"roles": ["data"], "tiers": ["hot"], "include_offline": True},
            "captures": [
                {"profile": "CPUProfile", "duration_seconds": 5},
                {"profile": "heap", "gc": True},
                {"profile": "heap"},
            ],
            "execution": {
                "parallelism": 1,
                "start_deadline_seconds": 10,
                "active_deadline_seconds": 60,
                "target_timeout_slack_seconds": 5,
                "backoff_limit": 0,
                "failure_policy": "FailFast",
            },
            "reason": "slow",
        }
    )
    assert asked.request_id == "incident-7"
    assert asked.spec == Spec(
        Selector(roles=("data",), tiers=("hot",), include_offline=True),
        (
            Capture("cpu", Profile.CPU, 5.0),
            Capture("heap", Profile.HEAP, 0, gc=True),
            Capture("heap-2", Profile.HEAP, 0),
        ),
        Execution(1, 10, 60, 5, 0, FailurePolicy.FAIL_FAST),
        "slow",
    )


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"taget": {}}, "taget", "taget is unknown; has: id, target, captures, execution, reason"),
        ({"id": "Not A Label"}, "id", "must be 1 to 63 of a-z, 0-9 and '-'"),
        ({"id": ""}, "id", "must be 1 to 63"),
        ({"id": 7}, "id", "must be a text"),
        ({"target": {}}, "target", 'target is empty; give names, roles or tiers, or say "all"'),
        ({"target": {"names": []}}, "target", "target is empty"),
        ({"target": {"include_offline": True}}, "target", "target is empty"),
        ({"target": None}, "target", "target is empty"),
        ({"target": []}, "target", "target must be an object"),
        ({"target": {"all": True, "names": ["a"]}}, "target.all", "excludes names"),
        ({"target": {"all": "yes"}}, "target.all", "must be true or false"),
        ({"target": {"names": "pod-0"}}, "target.names", "must be a list"),
        ({"target": {"names": ["a", ""]}}, "target.names[1]", "must be a text of 1 to 317"),
        ({"target": {"pods": ["a"]}}, "target.pods", "is unknown"),
        ({"captures": []}, "captures", "must be a list of 1 to 8 items, got 0 items"),
        ({"captures": [{"profile": "heap"}] * 9}, "captures", "got 9 items"),
        ({"captures": ["cpu"]}, "captures[0]", "must be an object"),
        ({"captures": [{}]}, "captures[0].profile", "must be a text"),
        ({"captures": [{"profile": "gpu"}]}, "captures[0].profile", "'gpu' is not known; one of"),
        (
            {"captures": [{"profile": "cpu", "duration_seconds": 121}]},
            "captures[0].duration_seconds",
            "captures[0].duration_seconds must be 1 to 120 for cpu",
        ),
        (
            {"captures": [{"profile": "heap"}, {"profile": "trace", "duration_seconds": 31}]},
            "captures[1].duration_seconds",
            "captures[1].duration_seconds must be 1 to 30 for trace",
        ),
        (
            {"captures": [{"profile": "cpu", "duration_seconds": 0.5}]},
            "captures[0].duration_seconds",
            "must be 1 to 120",
        ),
        (
            {"captures": [{"profile": "cpu", "duration_seconds": True}]},
            "captures[0].duration_seconds",
            "must be a number",
        ),
        (
            {"captures": [{"profile": "heap", "duration_seconds": 1}]},
            "captures[0].duration_seconds",
            "is not allowed for heap",
        ),
        ({"captures": [{"profile": "cpu", "gc": True}]}, "captures[0].gc", "is for heap only"),
        (
            {"captures": [{"profile": "cpu"}, {"profile": "cpu"}]},
            "captures[1].profile",
            "one cpu capture per request",
        ),
        (
            {"captures": [{"profile": "cpu", "seconds": 1}]},
            "captures[0].seconds",
            "is unknown; has: profile, duration_seconds, gc",
        ),
        ({"execution": {"parallelism": 17}}, "execution.parallelism", "from 1 to 16, got 17"),
        ({"execution": {"parallelism": 1.5}}, "execution.parallelism", "whole number"),
        ({"execution": {"backoff_limit": -1}}, "execution.backoff_limit", "from 0 to 3"),
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
        ({"reason": "x" * 257}, "reason", "at most 256 characters"),
    ],
)
def test_wrong_field_is_named(change, field, message):
    with pytest.raises(FieldError) as caught:
        parse_request(GOOD | change)
    assert caught.value.field == field
    assert message in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("body", [None, [], "x", 7])
def test_body_that_is_no_object_is_refused(body):
    with pytest.raises(FieldError, match="body must be an object"):
        parse_request(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "target", "captures", "execution", "reason", "all", "names", "profile", "gc"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=JSON)
def test_any_body_gives_a_spec_or_a_field_error(body):
    told = None
    try:
        parse_request(body)
    except FieldError as error:
        told = error
    assert told is None or told.message.startswith(told.field)


# ---- records ------------------------------------------------------------------------------------

TEXTS = st.text(max_size=5)
TIMES = st.none() | st.integers(0, 2**45)
RESULTS = st.builds(
    Result,
    TEXTS,
    st.sampled_from(Profile).map(str),
    st.floats(0, 120),
    phase=st.sampled_from(Phase),
    reason=TEXTS,
    attempt=st.integers(0, 4),
    started_at_ms=TIMES,
    deadline_at_ms=TIMES,
    samples=st.none() | st.integers(0),
    empty=st.booleans(),
    warnings=st.lists(TEXTS, max_size=2).map(tuple),
)
TARGETS = st.builds(
    Target,
    TEXTS,
    st.lists(RESULTS, max_size=2).map(tuple),
    awaits_agent=st.booleans(),
    phase=st.sampled_from(Phase),
)
REQUESTS = st.builds(
    Request,
    st.just("r1"),
    st.builds(
        Spec,
        st.builds(Selector, st.lists(TEXTS, max_size=2).map(tuple), all=st.booleans()),
        st.lists(st.builds(Capture, TEXTS, st.sampled_from(Profile), st.floats(0, 120))).map(tuple),
        st.builds(Execution, parallelism=st.integers(1, 16)),
    ),
    st.lists(TARGETS, max_size=2).map(tuple),
    st.integers(0, 2**45),
    phase=st.sampled_from(RequestPhase),
    cancel=st.none() | st.sampled_from(CancelMode),
    started_at_ms=TIMES,
)


@given(request=REQUESTS)
def test_record_comes_back_as_it_was(request):
    assert load_request(dump_request(request)) == request


@given(request=REQUESTS)
def test_resource_can_be_made_of_any_request(request):
    assert request_of(request).id == "r1"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-3], "cannot be read: Input data was truncated"),
        (lambda text: text.replace(b'"version":1', b'"version":2'), "of version 2, not 1"),
        (
            lambda text: text.replace(b'"Pending"', b'"Dancing"'),
            r"Invalid enum value 'Dancing' - at `\$.request.phase`",
        ),
        (
            lambda text: text.replace(b'"revision":1', b'"revision":"1"'),
            r"at `\$.request.revision`",
        ),
        (lambda text: text.replace(b'"targets"', b'"tricked"'), "missing required field `targets`"),
        (lambda text: b"[]", "Expected `object`"),
        (lambda text: text.replace(b'"r1"', b'"\\ud800"'), "surrogate"),
    ],
)
def test_damaged_record_is_refused_with_its_place(damage, message):
    record = dump_request(Request("r1", parse_request(GOOD).spec, (), 0))
    with pytest.raises(RecordError, match=message):
        load_request(damage(record))

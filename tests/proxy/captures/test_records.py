# SPDX-License-Identifier: Apache-2.0
"""Requests as values: from a body, to a record and back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_api.words import CancelMode, FailurePolicy, Phase, RequestPhase
from fodc_protocol.profiles import Profile
from fodc_proxy.captures.model import Capture, Execution, Request, Result, Selector, Spec, Target
from fodc_proxy.captures.records import dump_request, load_request
from fodc_proxy.http.requests import request_of
from fodc_proxy.storage.documents import RecordError

from .world import spec


def test_a_body_becomes_a_spec_whose_captures_have_names_of_their_own():
    asked = spec(
        target={"roles": ["data", "data"], "tiers": ["hot"], "include_offline": True},
        captures=[
            {"profile": "cpu", "duration_seconds": 5},
            {"profile": "heap", "gc": True},
            {"profile": "heap"},
        ],
        execution={"parallelism": 1, "backoff_limit": 0, "failure_policy": "FailFast"},
        purpose="slow",
    )
    assert asked == Spec(
        Selector(roles=("data",), tiers=("hot",), include_offline=True),
        (
            Capture("cpu", Profile.CPU, 5.0),
            Capture("heap", Profile.HEAP, 0, gc=True),
            Capture("heap-2", Profile.HEAP, 0),
        ),
        Execution(1, 300, 900, 30, 0, FailurePolicy.FAIL_FAST),
        "slow",
    )


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


def whole(request: Request) -> Request:
    """The same with a spec that asks for the captures it has."""
    names = {r.capture: r.profile for t in request.targets for r in t.results}
    captures = tuple(Capture(name, Profile(profile), 1.0) for name, profile in names.items())
    targets = tuple(
        replace(t, results=tuple(replace(r, profile=names[r.capture]) for r in t.results))
        for t in request.targets
    )
    return replace(request, spec=replace(request.spec, captures=captures), targets=targets)


@given(request=REQUESTS.map(whole))
def test_record_comes_back_as_it_was(request):
    assert load_request(dump_request(request)) == request


@given(request=REQUESTS)
def test_resource_can_be_made_of_any_request(request):
    assert request_of(request, lambda _: "").id == "r1"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-3], "cannot be read: Input data was truncated"),
        (lambda text: text.replace(b'"version":1', b'"version":2'), "of version 2, not 1"),
        (
            lambda text: text.replace(b'"Pending"', b'"Dancing"'),
            r"Invalid enum value 'Dancing' - at `\$.request.targets\[0\].results\[0\].phase`",
        ),
        (
            lambda text: text.replace(b'"revision":1', b'"revision":"1"'),
            r"at `\$.request.revision`",
        ),
        (lambda text: text.replace(b'"targets"', b'"tricked"'), "missing required field `targets`"),
        (lambda text: b"[]", "Expected `object`"),
        (lambda text: text.replace(b'"r1"', b'"r 1"'), "its id is none"),
        (lambda text: text.replace(b'"name":"heap"', b'"name":"cpu"'), "nobody asked for"),
        (lambda text: text.replace(b'"r1"', b'"\\ud800"'), "surrogate"),
    ],
)
def test_damaged_record_is_refused_with_its_place(damage, message):
    target = Target("pod-0", (Result("heap", "heap", 0),))
    record = dump_request(Request("r1", spec(), (target,), 0))
    with pytest.raises(RecordError, match=message):
        load_request(damage(record))

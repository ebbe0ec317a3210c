# SPDX-License-Identifier: Apache-2.0
"""What is done next, whose turn it is, and when: pure, in literals and by property."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_api.words import Phase, RequestPhase
from fodc_operator.diagnostics import status, steps
from fodc_operator.diagnostics.conditions import ConditionType, is_true
from fodc_operator.diagnostics.figures import Figures
from fodc_operator.diagnostics.steps import EndEarly, Expire, Seen, Settle, Submit, next_step
from fodc_operator.diagnostics.turns import next_turns
from fodc_operator.resources.diagnostic_request import (
    CancelMode,
    Identity,
    Key,
    RequestSpec,
    Target,
)
from fodc_protocol.fields import FieldError
from fodc_protocol.profiles import Profile
from fodc_proxy.captures import model
from fodc_proxy.captures.model import Capture, Request, Result

NOW_MS = 1_795_251_600_000
IDENTITY = Identity(Key("ns", "one"), "u-1", 1, NOW_MS - 10_000)
SPEC = RequestSpec(Target(all=True), (Capture("heap", Profile.HEAP, 0),), ttl_s=60)
KEYS = st.builds(Key, st.sampled_from(["a", "b", "c"]), st.text("xyz", min_size=1, max_size=2))


def seen(spec: RequestSpec | FieldError = SPEC, **told: object) -> Seen:
    return Seen(IDENTITY, spec, told)


def request(phase: RequestPhase = RequestPhase.RUNNING, **facts: object) -> Request:
    one = model.Target("pod-0", (Result("heap", "heap", 0),))
    spec = model.Spec(model.Selector(all=True), SPEC.captures)
    made = Request("one-k1", spec, (one,), NOW_MS, 1, phase)
    return replace(made, **facts)


# ---- steps ------------------------------------------------------------------------------------


def test_a_new_request_is_submitted_when_it_is_its_turn():
    assert next_step(seen(), None, NOW_MS, has_turn=True) == Submit(SPEC)


def test_a_request_without_a_turn_waits_until_its_start_deadline():
    step = next_step(seen(), None, NOW_MS, has_turn=False)
    assert isinstance(step, Settle)
    assert step.status["phase"] == "Queued"
    assert step.look_again_ms == IDENTITY.created_at_ms + 300_000


def test_a_request_whose_start_deadline_passed_fails_even_on_its_turn():
    step = next_step(seen(), None, NOW_MS + 300_000, has_turn=True)
    assert isinstance(step, Settle)
    assert step.status["reason"] == "StartDeadlineExceeded"
    assert step.status["message"].endswith("of its creation: no operator was there")


def test_a_request_that_the_proxy_has_is_followed():
    step = next_step(seen(), request(), NOW_MS, has_turn=True)
    assert step == Settle(status.of_request(IDENTITY, SPEC, request()), None)


@pytest.mark.parametrize(
    ("asked", "given_", "ends"),
    [
        (CancelMode.STOP, None, True),
        (CancelMode.ABORT, None, True),
        (CancelMode.ABORT, model.CancelMode.STOP, True),
        (CancelMode.STOP, model.CancelMode.STOP, False),
        (CancelMode.STOP, model.CancelMode.ABORT, False),
        (CancelMode.ABORT, model.CancelMode.ABORT, False),
    ],
)
def test_the_proxy_is_told_to_end_once_for_each_stronger_wish(asked, given_, ends):
    wish = replace(SPEC, cancel=asked)
    step = next_step(seen(wish), request(cancel=given_), NOW_MS, has_turn=True)
    assert isinstance(step, EndEarly) == ends


def test_a_cancel_of_a_request_that_has_ended_changes_nothing():
    done = request(RequestPhase.SUCCEEDED, finished_at_ms=NOW_MS)
    step = next_step(seen(replace(SPEC, cancel=CancelMode.ABORT)), done, NOW_MS, has_turn=True)
    assert isinstance(step, Settle)
    assert step.status["phase"] == "Succeeded"


def test_a_started_request_that_the_proxy_does_not_know_was_lost():
    started = status.of_request(IDENTITY, SPEC, request(started_at_ms=NOW_MS))
    step = next_step(Seen(IDENTITY, SPEC, started), None, NOW_MS, has_turn=True)
    assert isinstance(step, Settle)
    assert (step.status["phase"], step.status["reason"]) == ("Failed", "ProxyRestarted")


def test_a_request_of_which_nothing_started_is_submitted_again():
    told = status.of_request(IDENTITY, SPEC, request(RequestPhase.QUEUED))
    assert next_step(Seen(IDENTITY, SPEC, told), None, NOW_MS, has_turn=True) == Submit(SPEC)


def test_a_spec_that_cannot_be_read_is_rejected_with_its_words():
    wrong = FieldError("spec.target", "is empty")
    step = next_step(seen(wrong), None, NOW_MS, has_turn=True)
    assert isinstance(step, Settle)
    assert (step.status["phase"], step.status["message"]) == ("Rejected", "spec.target is empty")
    assert not is_true(step.status, ConditionType.ACCEPTED)


def test_an_ended_request_waits_for_its_expiry_and_then_goes():
    ended = {
        "phase": "Succeeded",
        "observedGeneration": 1,
        "completionTime": "2026-11-21T09:00:00Z",
        "expirationTime": "2026-11-21T09:01:00Z",
    }
    one = Seen(IDENTITY, SPEC, ended)
    assert next_step(one, None, NOW_MS, has_turn=False) == Settle(ended, NOW_MS + 60_000)
    assert next_step(one, None, NOW_MS + 60_000, has_turn=False) == Expire()


@pytest.mark.parametrize("phase", [phase for phase in RequestPhase if phase.ended])
def test_an_end_is_never_taken_back(phase):
    told = {"phase": str(phase), "completionTime": "2026-11-21T09:00:00Z"}
    for known in (None, request()):
        step = next_step(Seen(IDENTITY, SPEC, told), known, NOW_MS, has_turn=True)
        assert isinstance(step, Settle)
        assert step.status["phase"] == phase


@given(
    st.sampled_from([None, *CancelMode]),
    st.sampled_from([None, *RequestPhase]),
    st.sampled_from([None, *model.CancelMode]),
    st.integers(0, 10**7),
    st.booleans(),
)
def test_every_status_has_each_condition_once(cancel, phase, given_, late_ms, has_turn):
    """Whatever is known when: and a step that was carried out leads to no second one like it."""
    known = None
    if phase is not None:
        ended = NOW_MS if phase.ended else None
        known = request(phase, cancel=given_, finished_at_ms=ended)
    spec = replace(SPEC, cancel=cancel)
    step = next_step(seen(spec), known, NOW_MS + late_ms, has_turn=has_turn)
    if isinstance(step, Settle):
        told = step.status
        assert [one["type"] for one in told["conditions"]] == list(ConditionType)
        assert is_true(told, ConditionType.FINISHED) == status.has_ended(told)
        assert not status.has_ended(told) or told["expirationTime"]
        again = next_step(Seen(IDENTITY, spec, told), known, NOW_MS + late_ms, has_turn=has_turn)
        assert not isinstance(again, Settle) or status.merge_patch(told, again.status) == {}


# ---- turns ------------------------------------------------------------------------------------


def test_free_places_go_to_the_namespace_with_the_fewest_and_there_to_the_oldest():
    waiting = {Key("a", "1"): 10, Key("a", "2"): 20, Key("b", "1"): 30, Key("c", "1"): 40}
    assert next_turns(waiting, [], 3) == [Key("a", "1"), Key("b", "1"), Key("c", "1")]
    assert next_turns(waiting, [Key("b", "0")], 3) == [Key("a", "1"), Key("c", "1")]
    assert next_turns(waiting, [Key("a", "0")] * 3, 3) == []


@given(st.dictionaries(KEYS, st.integers(0, 9)), st.lists(KEYS, max_size=6), st.integers(0, 12))
def test_turns_fill_the_places_and_keep_the_order_within_a_namespace(waiting, open_, places):
    turns = next_turns(waiting, open_, places)
    assert len(turns) == min(max(places - len(open_), 0), len(waiting))
    for namespace in "abc":
        own = [waiting[key] for key in turns if key.namespace == namespace]
        left = [
            since
            for key, since in waiting.items()
            if key.namespace == namespace and key not in turns
        ]
        assert own == sorted(own)
        assert not own or not left or max(own) <= min(left)


# ---- figures ----------------------------------------------------------------------------------


def test_figures_tell_what_ended_and_what_was_captured():
    figures = Figures()
    stored = Result("cpu", "cpu", 30, Phase.SUCCEEDED, elapsed_ms=30_500, size_bytes=1000)
    done = request(targets=(model.Target("a", (replace(stored, artifact_id="art-1"),)),))
    figures.ended("Succeeded", "", done)
    figures.ended("Rejected", "BadRequest", None)
    figures.wrote("ok")
    told = {
        (one.series.name, one.series.labels): one.value
        for one in figures.samples({"Running": 2}, 3, 4.5)
        if one.value
    }
    assert told == {
        ("fodc_operator_requests", (("phase", "Running"),)): 2,
        ("fodc_operator_requests_waiting", ()): 3,
        ("fodc_operator_requests_waiting_oldest_seconds", ()): 4.5,
        ("fodc_operator_requests_ended_total", (("phase", "Succeeded"), ("reason", ""))): 1,
        (
            "fodc_operator_requests_ended_total",
            (("phase", "Rejected"), ("reason", "BadRequest")),
        ): 1,
        ("fodc_operator_capture_seconds_total", (("profile", "cpu"),)): 30.5,
        ("fodc_operator_capture_bytes_total", (("profile", "cpu"),)): 1000,
        (
            "fodc_operator_status_writes_total",
            (("kind", "DiagnosticRequest"), ("outcome", "ok")),
        ): 1,
    }


def test_the_lost_are_told_what_to_do():
    assert "give the proxy a volume that outlives it" in steps.LOST

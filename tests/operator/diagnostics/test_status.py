# SPDX-License-Identifier: Apache-2.0
"""From what the proxy knows to a status: literal, bounded, valid by the schema, and stable."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fodc_api.words import CancelMode, Phase, RequestPhase
from fodc_kube.conditions import condition_of
from fodc_operator.diagnostics import status, transitions
from fodc_operator.diagnostics.conditions import ConditionType, Verdict, is_true
from fodc_operator.diagnostics.transitions import Happened
from fodc_operator.resources.diagnostic_request import Identity, Key, RequestSpec
from fodc_operator.resources.diagnostic_request import Target as Asked
from fodc_protocol.profiles import Profile
from fodc_proxy.captures.model import Capture, Request, Result, Selector, Spec, Target

START_MS = 1_795_251_600_000  # 2026-11-21T09:00:00Z
IDENTITY = Identity(Key("banyandb", "slow"), "u-1", 3, START_MS)
CPU = Capture("cpu", Profile.CPU, 30)
SPEC = RequestSpec(Asked(all=True), (CPU,), ttl_s=3600)
CRD = Path(__file__).resolve().parents[3] / "crds" / "diagnosticrequests.yaml"


def schema() -> dict[str, Any]:
    whole = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return whole["properties"]["status"]


def assert_fits(value: Any, rule: dict[str, Any], path: str = "status") -> None:
    """The part of a structural schema that our CRD uses."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    assert isinstance(value, kinds[rule["type"]]), path
    match value:
        case dict():
            assert set(value) <= set(rule["properties"]), (path, set(value))
            assert set(rule.get("required", ())) <= set(value), path
            for name, one in value.items():
                assert_fits(one, rule["properties"][name], f"{path}.{name}")
        case list():
            assert len(value) <= rule["maxItems"], path
            for at, one in enumerate(value):
                assert_fits(one, rule["items"], f"{path}[{at}]")
        case str():
            if "enum" in rule:
                assert value in rule["enum"], (path, value)
            else:
                assert rule.get("minLength", 0) <= len(value) <= rule["maxLength"], (path, value)


def result(phase: Phase = Phase.SUCCEEDED, **facts: Any) -> Result:
    return Result("cpu", "cpu", 30, phase, attempt=1, **facts)


def stored(**facts: Any) -> Result:
    return result(
        elapsed_ms=30_400,
        size_bytes=48_211,
        sha256="9f" * 32,
        samples=11_840,
        format="pprof",
        artifact_id="art-1",
        **facts,
    )


def target(node: str, one: Result, **facts: Any) -> Target:
    return Target(node, (one,), f"id-of-{node}", "ROLE_DATA", phase=one.phase, **facts)


def request(*targets: Target, phase: RequestPhase = RequestPhase.RUNNING, **facts: Any) -> Request:
    told = {"started_at_ms": START_MS + 1_000} | facts
    return Request("slow-k1", Spec(Selector(all=True), (CPU,)), targets, START_MS, 7, phase, **told)


POD_0 = {
    "nodeName": "pod-0",
    "agentID": "id-of-pod-0",
    "role": "Data",
    "phase": "Succeeded",
    "startTime": "2026-11-21T09:00:01Z",
    "completionTime": "2026-11-21T09:00:32Z",
    "attempts": 1,
    "results": [
        {
            "captureName": "cpu",
            "type": "CPUProfile",
            "phase": "Succeeded",
            "artifactID": "art-1",
            "downloadPath": "/artifacts/art-1",
            "sizeBytes": 48_211,
            "sha256": "9f" * 32,
            "format": "pprof",
            "samples": 11_840,
            "elapsedMilliseconds": 30_400,
            "truncated": False,
            "warnings": ["one"],
        }
    ],
}


# ---- literal ----------------------------------------------------------------------------------


def test_a_request_that_succeeded_is_told_whole():
    done = request(
        target(
            "pod-0",
            stored(warnings=("one",)),
            started_at_ms=START_MS + 1_000,
            finished_at_ms=START_MS + 32_000,
        ),
        phase=RequestPhase.SUCCEEDED,
        message="all 1 captures succeeded",
        finished_at_ms=START_MS + 32_500,
    )
    told = status.of_request(IDENTITY, SPEC, done)
    conditions = told.pop("conditions")
    assert told == {
        "observedGeneration": 3,
        "phase": "Succeeded",
        "reason": "",
        "message": "all 1 captures succeeded",
        "requestID": "slow-k1",
        "captures": "CPUProfile",
        "progress": "1/1",
        "startTime": "2026-11-21T09:00:01Z",
        "completionTime": "2026-11-21T09:00:32Z",
        "expirationTime": "2026-11-21T10:00:32Z",
        "counts": {
            "targets": 1,
            "pending": 0,
            "running": 0,
            "succeeded": 1,
            "failed": 0,
            "skipped": 0,
            "cancelled": 0,
        },
        "artifacts": {"count": 1, "bytes": 48_211},
        "targets": [POD_0],
    }
    assert conditions == [
        _condition("Accepted", "True", 0, "Valid", "the request is understood"),
        _condition("TargetsResolved", "True", 0, "Resolved", "1 node"),
        _condition("Started", "True", 1, "Captures", "the first capture has started"),
        _condition("Finished", "True", 32, "Succeeded", "all 1 captures succeeded"),
        _condition("Succeeded", "True", 32, "Succeeded", "all 1 captures succeeded"),
    ]
    assert_fits(told | {"conditions": conditions}, schema())


def _condition(kind: str, word: str, second: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": word,
        "observedGeneration": 3,
        "lastTransitionTime": f"2026-11-21T09:00:{second:02d}Z",
        "reason": reason,
        "message": message,
    }


def test_an_empty_profile_is_a_failure_that_can_be_looked_at():
    empty = stored(reason="EmptyProfile", message="not one sample", empty=True)
    one = replace(empty, phase=Phase.FAILED, samples=0)
    told = status.of_request(IDENTITY, SPEC, request(target("pod-0", one)))
    (entry,) = told["targets"][0]["results"]
    assert (entry["phase"], entry["reason"], entry["samples"]) == ("Failed", "EmptyProfile", 0)
    assert entry["artifactID"] == "art-1"


@pytest.mark.parametrize(
    ("phase", "cancel", "expected"),
    [
        (RequestPhase.RUNNING, None, ("Unknown", "Open")),
        (RequestPhase.PARTIALLY_SUCCEEDED, None, ("True", "PartiallySucceeded")),
        (RequestPhase.FAILED, None, ("False", "Offline")),
        (RequestPhase.CANCELLED, CancelMode.STOP, ("False", "Stop")),
        (RequestPhase.CANCELLED, CancelMode.ABORT, ("False", "Abort")),
    ],
)
def test_conditions_follow_the_phase(phase, cancel, expected):
    one = request(
        target("a", result(Phase.RUNNING)),
        phase=phase,
        reason="Offline",
        cancel=cancel,
        finished_at_ms=START_MS if phase.ended else None,
    )
    told = status.of_request(IDENTITY, SPEC, one)["conditions"]
    found = {c["type"]: (c["status"], c["reason"]) for c in told}
    assert found["Succeeded"] == expected
    assert list(found) == list(ConditionType)


@pytest.mark.parametrize(
    ("role", "word"),
    [("ROLE_DATA", "Data"), ("liaison", "Liaison"), ("ROLE_UNSPECIFIED", ""), ("", "")],
)
def test_roles_are_written_as_in_the_resources(role, word):
    assert status.role_word(role) == word


# ---- ends without the proxy -------------------------------------------------------------------


def test_what_was_true_before_data_were_lost_stays_and_the_rest_ends():
    before = status.of_request(
        IDENTITY,
        SPEC,
        request(target("a", stored()), target("b", result(Phase.RUNNING))),
    )
    verdict = Verdict(RequestPhase.FAILED, "ProxyRestarted", "gone", START_MS + 60_000)
    told = status.ended_without_request(IDENTITY, SPEC, verdict, before)
    assert [(one["nodeName"], one["phase"]) for one in told["targets"]] == [
        ("a", "Succeeded"),
        ("b", "Failed"),
    ]
    assert told["targets"][0]["results"][0]["artifactID"] == "art-1"
    assert told["targets"][1]["results"][0]["reason"] == "ProxyRestarted"
    assert (told["counts"]["succeeded"], told["counts"]["failed"]) == (1, 1)
    assert told["progress"] == "2/2"
    assert told["expirationTime"] == "2026-11-21T10:01:00Z"
    assert is_true(told, ConditionType.STARTED)
    succeeded = condition_of(told, ConditionType.SUCCEEDED)
    assert (succeeded["status"], succeeded["reason"]) == ("False", "ProxyRestarted")
    assert_fits(told, schema())


def test_a_rejected_request_without_a_readable_spec_still_expires():
    verdict = Verdict(RequestPhase.REJECTED, "BadRequest", "no", START_MS, is_accepted=False)
    told = status.ended_without_request(IDENTITY, None, verdict, {})
    assert told["expirationTime"] == "2026-11-22T09:00:00Z"
    assert_fits(told, schema())


def test_of_an_ended_request_only_generation_and_expiry_move():
    before = {
        "phase": "Failed",
        "completionTime": "2026-11-21T09:00:00Z",
        "expirationTime": "2026-11-22T09:00:00Z",
        "observedGeneration": 1,
    }
    after = status.still_ended(IDENTITY, SPEC, before)
    assert status.merge_patch(before, after) == {
        "observedGeneration": 3,
        "expirationTime": "2026-11-21T10:00:00Z",
    }


# ---- bounded ----------------------------------------------------------------------------------


def test_the_longest_texts_are_cut_to_what_the_schema_takes():
    long = "x" * 5000
    bad = replace(stored(reason="NodeError", message=long, warnings=(long,) * 9), truncated=True)
    one = request(target("a", bad, message=long), message=long, reason="Busy")
    assert_fits(status.of_request(IDENTITY, SPEC, one), schema())


def test_beyond_256_targets_those_that_did_not_succeed_are_listed_first():
    many = [target(f"pod-{n:03d}", stored()) for n in range(300)]
    many[299] = target("pod-299", result(Phase.FAILED))
    told = status.of_request(IDENTITY, SPEC, request(*many))
    names = [one["nodeName"] for one in told["targets"]]
    assert len(names) == 256
    assert names[-2:] == ["pod-254", "pod-299"]
    assert told["counts"]["targets"] == 300
    assert told["message"] == (
        "256 of 300 targets are listed, all of them at /diagnostics/requests/slow-k1 of the proxy"
    )
    assert_fits(told, schema())


def test_a_status_never_grows_beyond_its_bytes():
    fat = replace(stored(warnings=("w" * 256,) * 4), message="m" * 256)
    eight = tuple(replace(fat, capture=f"c{n}") for n in range(8))
    many = [Target(f"pod-{n:03d}", eight, phase=Phase.SUCCEEDED) for n in range(256)]
    told = status.of_request(IDENTITY, SPEC, request(*many))
    assert len(json.dumps(told, separators=(",", ":"))) < status.MAX_BYTES + 10_000
    assert 40 < len(told["targets"]) < 256


# ---- patches ----------------------------------------------------------------------------------

LEAVES = st.one_of(st.booleans(), st.integers(), st.text(max_size=3))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
STATUSES = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def applied(base: Any, patch: Any) -> Any:
    """RFC 7386, written down once more."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = applied(merged.get(key), value)
    return merged


@given(STATUSES, STATUSES)
def test_a_patch_makes_one_status_to_the_other(before, after):
    assert applied(before, status.merge_patch(before, after)) == after


@given(STATUSES)
def test_a_status_that_is_the_same_needs_no_patch(one):
    assert status.merge_patch(one, dict(one)) == {}


# ---- Events -----------------------------------------------------------------------------------


def test_events_tell_each_transition_once():
    open_ = request(target("a", result(Phase.RUNNING)))
    running = status.of_request(IDENTITY, SPEC, open_)
    failed = replace(
        open_,
        phase=RequestPhase.FAILED,
        reason="AllTargetsFailed",
        message="1 NodeError",
        finished_at_ms=START_MS,
    )
    ended = status.of_request(IDENTITY, SPEC, failed)
    jane = transitions.People("jane")
    assert transitions.between({}, running, jane) == (
        Happened("Accepted", "the request of jane is understood"),
        Happened("Started", "captures for jane have started: CPUProfile"),
    )
    assert transitions.between(running, running, jane) == ()
    assert transitions.between(running, ended, jane) == (
        Happened("Failed", "asked by jane: AllTargetsFailed: 1 NodeError", is_warning=True),
    )
    assert transitions.between(status.remembered(ended), status.remembered(ended), jane) == ()

# SPDX-License-Identifier: Apache-2.0
"""A DiagnosticRequest read: the same defaults and ceilings as the schema, errors with the path."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fodc_api.words import FailurePolicy
from fodc_operator.resources import diagnostic_request as resource
from fodc_operator.resources.diagnostic_request import CancelMode, Identity, Key, RequestSpec
from fodc_protocol.fields import FieldError
from fodc_protocol.profiles import Profile
from fodc_proxy.captures.model import Capture, Execution
from fodc_webhook.resources.label_selector import LabelOperator, LabelSelector, Requirement

CRDS = Path(__file__).resolve().parents[3] / "crds"
METADATA = {
    "namespace": "banyandb",
    "name": "slow",
    "uid": "u-1",
    "generation": 2,
    "creationTimestamp": "2026-11-21T09:00:00Z",
    "resourceVersion": "77",
}


def body(**spec: Any) -> dict[str, Any]:
    plain = {"target": {"names": ["pod-0"]}, "captures": [{"type": "CPUProfile"}]}
    return {"metadata": METADATA, "spec": plain | spec}


def schema() -> dict[str, Any]:
    crd = yaml.safe_load((CRDS / "diagnosticrequests.yaml").read_text())
    whole = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return whole["properties"]["spec"]["properties"]


# ---- metadata ---------------------------------------------------------------------------------


def test_metadata_say_which_object_it_is():
    assert resource.identity_of(body()) == Identity(
        Key("banyandb", "slow"), "u-1", 2, 1_795_251_600_000
    )
    assert resource.version_of(body()) == 77


def test_a_deletion_timestamp_says_that_an_object_is_going():
    going = {"metadata": METADATA | {"deletionTimestamp": "2026-11-21T09:01:00Z"}}
    assert resource.identity_of(going).is_deleting


@pytest.mark.parametrize("name", ["namespace", "name", "uid", "creationTimestamp"])
def test_metadata_that_a_server_always_gives_are_missed_by_name(name: str):
    wrong = {"metadata": {key: value for key, value in METADATA.items() if key != name}}
    with pytest.raises(FieldError, match=f"metadata.{name} "):
        resource.identity_of(wrong)


def test_a_version_that_is_no_number_is_an_error():
    with pytest.raises(FieldError, match=r"metadata.resourceVersion is no number: 'abc'"):
        resource.version_of({"metadata": METADATA | {"resourceVersion": "abc"}})


# ---- spec -------------------------------------------------------------------------------------


def test_what_is_not_said_has_the_defaults_of_the_schema():
    spec = resource.spec_of(body())
    assert spec == RequestSpec(
        target=resource.Target(names=("pod-0",)),
        captures=(Capture("cpu", Profile.CPU, 30),),
        execution=Execution(),
        ttl_s=86_400,
    )
    told = {name: one["default"] for name, one in schema()["execution"]["properties"].items()}
    assert told == {
        "parallelism": spec.execution.parallelism,
        "startDeadlineSeconds": 300,
        "activeDeadlineSeconds": 900,
        "targetTimeoutSlackSeconds": 30,
        "backoffLimit": spec.execution.backoff_limit,
        "failurePolicy": spec.execution.failure_policy,
    }
    assert schema()["ttlSecondsAfterFinished"]["default"] == resource.DEFAULT_TTL_S
    assert resource.spec_of(body(execution=told)) == spec


def test_the_schema_knows_the_same_captures():
    rule = schema()["captures"]["items"]["properties"]["type"]["x-kubernetes-validations"][0]
    assert [kind for kind in Profile if f"'{kind.facts.crd_type}'" not in rule["rule"]] == []


def test_a_kind_of_the_nodes_own_is_read_by_its_name():
    captures = [{"type": "goroutineleak"}, {"type": "goroutineleak"}]
    spec = resource.spec_of(body(captures=captures))
    assert [(c.name, c.profile) for c in spec.captures] == [
        ("goroutineleak", "goroutineleak"),
        ("goroutineleak-2", "goroutineleak"),
    ]


@pytest.mark.parametrize(
    "path",
    sorted(CRDS.glob("examples/*/diagnosticrequest.yaml")),
    ids=lambda path: path.parent.name,
)
def test_every_example_can_be_read(path: Path):
    example = yaml.safe_load(path.read_text())
    assert resource.spec_of(example).captures


def test_everything_that_can_be_said_is_read():
    spec = resource.spec_of(
        body(
            target={
                "names": ["a", "b"],
                "roles": ["Data"],
                "tiers": ["hot"],
                "selector": {
                    "matchLabels": {"x": "1"},
                    "matchExpressions": [{"key": "y", "operator": "NotIn", "values": ["2", "3"]}],
                },
                "includeOffline": True,
            },
            captures=[
                {"name": "quick", "type": "CPUProfile", "durationSeconds": 90},
                {"type": "HeapSnapshot", "heap": {"gc": True}},
                {"type": "HeapSnapshot"},
                {
                    "type": "Window",
                    "window": {"endTime": "2026-11-29T03:00:00Z", "spanSeconds": 600},
                },
                {"name": "all", "type": "Window"},
                {"type": "Config"},
            ],
            execution={
                "parallelism": 16,
                "startDeadlineSeconds": 2,
                "activeDeadlineSeconds": 7200,
                "targetTimeoutSlackSeconds": 600,
                "backoffLimit": 0,
                "failurePolicy": "FailFast",
            },
            cancel="Abort",
            ttlSecondsAfterFinished=60,
            purpose="INC-1",
        )
    )
    selector = LabelSelector(
        (
            Requirement("x", LabelOperator.IN, ("1",)),
            Requirement("y", LabelOperator.NOT_IN, ("2", "3")),
        )
    )
    assert spec == RequestSpec(
        resource.Target(("a", "b"), ("Data",), ("hot",), selector, include_offline=True),
        (
            Capture("quick", Profile.CPU, 90),
            Capture("heap", Profile.HEAP, 0, gc=True),
            Capture("heap-2", Profile.HEAP, 0),
            Capture("window", Profile.WINDOW, 0, end_ms=1_795_921_200_000, span_s=600),
            Capture("all", Profile.WINDOW, 0),
            Capture("config", Profile.CONFIG, 0),
        ),
        Execution(16, 2, 7200, 600, 0, FailurePolicy.FAIL_FAST),
        CancelMode.ABORT,
        60,
        "INC-1",
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"target": {}}, "spec.target is empty: give names, roles, tiers or selector, or say"),
        ({"target": {"all": True, "tiers": ["hot"]}}, "spec.target.all excludes names, roles"),
        ({"target": {"selector": {}}}, "spec.target.selector is empty and would match every node"),
        (
            {"target": {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
            "spec.target.selector.matchExpressions[0].values In and NotIn need values",
        ),
        (
            {"target": {"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}},
            "spec.target.selector.matchExpressions[0].operator must be one of In, NotIn, Exists",
        ),
        (
            {"target": {"selector": {"matchLabels": {str(n): "" for n in range(17)}}}},
            "spec.target.selector.matchLabels has more than 16 labels",
        ),
        ({"target": {"node": "a"}}, "spec.target.node is unknown; has: names, roles"),
        ({"captures": []}, "spec.captures must be a list of 1 to 8 items, got 0 items"),
        ({"captures": [{"type": "cpu"}]}, "spec.captures[0].type must be one of CPUProfile,"),
        (
            {"captures": [{"type": "CPUProfile"}, {"type": "CPUProfile"}]},
            "spec.captures[1].type at most one CPUProfile per request",
        ),
        (
            {"captures": [{"type": "HeapSnapshot", "name": "a"}] * 2},
            "spec.captures[1].name a is taken; names of captures must differ",
        ),
        (
            {"captures": [{"type": "CPUProfile", "durationSeconds": 180}]},
            "spec.captures[0].durationSeconds must be a whole number from 1 to 120, got 180",
        ),
        (
            {"captures": [{"type": "ExecutionTrace", "durationSeconds": 31}]},
            "spec.captures[0].durationSeconds must be a whole number from 1 to 30, got 31",
        ),
        (
            {"captures": [{"type": "GoroutineDump", "durationSeconds": 1}]},
            "spec.captures[0].durationSeconds is not allowed for GoroutineDump: it is taken",
        ),
        (
            {"captures": [{"type": "CPUProfile", "durationSeconds": "soon"}]},
            "spec.captures[0].durationSeconds must be a whole number from 1 to 120, got 'soon'",
        ),
        (
            {"captures": [{"type": "CPUProfile", "heap": {"gc": True}}]},
            "spec.captures[0].heap is only for HeapSnapshot, not for CPUProfile",
        ),
        (
            {"captures": [{"type": "Config", "window": {"spanSeconds": 60}}]},
            "spec.captures[0].window is only for Window, not for Config",
        ),
        (
            {"captures": [{"type": "Window", "window": {"spanSeconds": 90000}}]},
            "spec.captures[0].window.spanSeconds must be a whole number from 1 to 86400, got 90000",
        ),
        (
            {"execution": {"parallelism": 17}},
            "spec.execution.parallelism must be a whole number from 1 to 16, got 17",
        ),
        (
            {"execution": {"startDeadlineSeconds": 3660}},
            "spec.execution.startDeadlineSeconds must be a whole number from 1 to 3600, got 3660",
        ),
        (
            {"execution": {"activeDeadlineSeconds": 10}},
            "spec.execution.activeDeadlineSeconds is shorter than the longest capture, cpu",
        ),
        ({"cancel": "Now"}, "spec.cancel must be one of Stop, Abort, got 'Now'"),
        (
            {"ttlSecondsAfterFinished": 10},
            "spec.ttlSecondsAfterFinished must be a whole number from 60 to 2592000, got 10",
        ),
        ({"purpose": "x" * 257}, "spec.purpose must be a text of at most 256 characters"),
        ({"sooner": True}, "spec.sooner is unknown; has: target, captures, execution"),
    ],
)
def test_what_cannot_be_is_refused_with_the_path_of_the_field(spec: dict, message: str):
    with pytest.raises(FieldError) as refused:
        resource.spec_of(body(**spec))
    assert refused.value.message.startswith(message)


def test_a_spec_that_is_no_object_is_refused():
    with pytest.raises(FieldError, match="spec must be an object, got 'all'"):
        resource.spec_of({"spec": "all"})


# ---- selectors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        (LabelOperator.IN, ("hot", "warm"), {"a": True, "b": False, "c": False}),
        (LabelOperator.NOT_IN, ("hot",), {"a": False, "b": True, "c": True}),
        (LabelOperator.EXISTS, (), {"a": True, "b": True, "c": False}),
        (LabelOperator.DOES_NOT_EXIST, (), {"a": False, "b": False, "c": True}),
    ],
)
def test_operators_of_a_selector_mean_what_kubernetes_means(operator, values, fits):
    labels = {"a": {"tier": "hot"}, "b": {"tier": "cold"}, "c": {}}
    selector = LabelSelector((Requirement("tier", operator, values),))
    assert {name: selector.matches(one) for name, one in labels.items()} == fits


def test_all_requirements_of_a_selector_must_hold():
    both = LabelSelector(
        (
            Requirement("tier", LabelOperator.IN, ("hot",)),
            Requirement("zone", LabelOperator.EXISTS),
        )
    )
    assert not both.matches({"tier": "hot"})
    assert both.matches({"tier": "hot", "zone": "a"})

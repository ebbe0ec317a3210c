# SPDX-License-Identifier: Apache-2.0
"""Pods as an API server gives them, and policies, for tests of how pods stand; around one noon."""

from collections.abc import Callable, Mapping
from typing import Any

from fodc_operator.policies.agent_state import Start
from fodc_operator.policies.standing import PolicyView, Scene
from fodc_protocol.times import format_rfc3339
from fodc_webhook.inject import marks
from fodc_webhook.inject.attempt import Book, attempt
from fodc_webhook.inject.outcome import Injection
from fodc_webhook.resources.fodc_injection import AgentTemplate, Policy
from fodc_webhook.resources.label_selector import LabelOperator, LabelSelector, Requirement

NOON_MS = 1_795_003_200_000
NOON = "2026-11-18T12:00:00Z"
REVISION = "0123456789"
OPTED_IN = {marks.OPT_IN_LABEL: marks.ENABLED}
START = {state.value: state for state in Start}


def at(seconds: float) -> str:
    """A time so many seconds after noon, as the API server writes it."""
    return format_rfc3339(int(NOON_MS / 1000 + seconds))


def policy(name: str = "banyandb", app: str = "banyandb", **more: Any) -> Policy:
    told: dict[str, Any] = {
        "namespace": "ns",
        "name": name,
        "uid": f"uid-of-{name}",
        "generation": 1,
        "pod_selector": LabelSelector((Requirement("app", LabelOperator.IN, (app,)),)),
        "cluster": name,
        "agent": AgentTemplate("agent:1", "proxy:17912"),
        **more,
    }
    return Policy(**told)


def view(one: Policy | None = None, created_s: float = -3600) -> PolicyView:
    return PolicyView(one or policy(), REVISION, NOON_MS + round(created_s * 1000))


def scene(
    *views: PolicyView,
    labels: Mapping[str, str] | None = None,
    ask: Callable[[Any], Injection] | None = None,
    now_s: float = 0,
    **more: Any,
) -> Scene:
    known = views or (view(),)
    spoken = OPTED_IN if labels is None else labels
    book = Book(tuple(one.policy for one in known))
    judge = ask or (lambda pod: attempt(pod, book, spoken, (1, 34)))
    return Scene(known, spoken, judge, NOON_MS + round(now_s * 1000), **more)


def pod(
    name: str = "data-0",
    *,
    created_s: float = -600,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    ready: bool = True,
    ready_since_s: float = -500,
    owner: str = "StatefulSet",
    **more: Any,
) -> dict[str, Any]:
    """A pod without an agent that runs; `more` goes over its top level."""
    word = "True" if ready else "False"
    meta: dict[str, Any] = {
        "name": name,
        "namespace": "ns",
        "uid": f"uid-of-{name}-{created_s:g}",
        "creationTimestamp": at(created_s),
        "resourceVersion": "7",
        "labels": {"app": "banyandb", **(labels or {})},
        "annotations": dict(annotations or {}),
    }
    if owner:
        meta["ownerReferences"] = [
            {"kind": owner, "name": "data", "uid": "uid-of-data", "controller": True}
        ]
        if owner != "StatefulSet":
            meta["generateName"] = "data-"
    return {
        "metadata": meta,
        "spec": {
            "nodeName": "machine-1",
            "containers": [{"name": "data", "image": "banyandb", "args": ["data"]}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "conditions": [
                {"type": "Ready", "status": word, "lastTransitionTime": at(ready_since_s)}
            ],
            "containerStatuses": [
                {"name": "data", "state": {"running": {"startedAt": at(created_s)}}}
            ],
        },
        **more,
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def running(since_s: float = -590) -> dict[str, Any]:
    return {"running": {"startedAt": at(since_s)}}


def injected(
    name: str = "data-0",
    state: Mapping[str, Any] | None = None,
    *,
    by: str = "banyandb",
    revision: str = REVISION,
    restarts: int = 0,
    note: str = "",
    **more: Any,
) -> dict[str, Any]:
    """A pod with an agent as a native sidecar, which runs unless told otherwise."""
    found = pod(name, **more)
    told = running() if state is None else dict(state)
    found["metadata"]["labels"][marks.INJECTED_BY] = by
    found["metadata"]["annotations"][marks.REVISION] = revision
    if note:
        found["metadata"]["annotations"][marks.NOTE] = note
    found["spec"]["initContainers"] = [
        {"name": "fodc-agent", "image": "agent:1", "restartPolicy": "Always"}
    ]
    agent = {"name": "fodc-agent", "state": told, "restartCount": restarts}
    found["status"]["initContainerStatuses"] = [agent]
    return found


def stuck(name: str = "data-0", reason: str = "ImagePullBackOff", **more: Any) -> dict[str, Any]:
    """A pod whose agent does not start, so its database does not either."""
    told: dict[str, Any] = {"ready": False, "created_s": -60, "ready_since_s": -60, **more}
    found = injected(name, waiting(reason, "no such image"), **told)
    found["status"]["phase"] = "Pending"
    found["status"]["containerStatuses"] = [{"name": "data", "state": waiting("PodInitializing")}]
    return found


def unschedulable(name: str = "data-0", **more: Any) -> dict[str, Any]:
    """A pod with an agent for which no node has room."""
    found = injected(name, ready=False, created_s=-60, **more)
    said = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient memory.",
    }
    del found["spec"]["nodeName"]
    return {**found, "status": {"phase": "Pending", "conditions": [said]}}

# SPDX-License-Identifier: Apache-2.0
"""Policies and small pods for tests of what the injection does to a pod."""

from collections.abc import Mapping
from typing import Any

from fodc_webhook.inject import marks
from fodc_webhook.inject.inject import inject
from fodc_webhook.inject.outcome import Injection, Outcome
from fodc_webhook.resources.fodc_injection import Defaults, Policy, policy_of

DEFAULTS = Defaults("banyandb-fodc-agent:0.1.0", "fodc-proxy-grpc.fodc-system.svc:17912")
SERVER = (1, 34)
OURS = (marks.REVISION, marks.USED_FLAVOR, marks.NOTE, marks.SKIPPED)
PRIVILEGED = {"pod-security.kubernetes.io/enforce": "privileged"}


def policy(name: str = "banyandb", **spec: Any) -> Policy:
    selector = {"podSelector": {"matchLabels": {"app": "banyandb-data"}}}
    body = {"metadata": {"name": name, "namespace": "banyandb"}, "spec": {**selector, **spec}}
    return policy_of(body, DEFAULTS)


def crash(path: str = "/tmp/crash") -> dict[str, str]:
    return {"name": "crash", "mountPath": path}


def database(**more: Any) -> dict[str, Any]:
    return {
        "name": "banyandb",
        "image": "apache/skywalking-banyandb:0.10.0",
        "args": ["data"],
    } | more


def other(name: str = "other", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "other:1"} | more


def pod(
    *others: Mapping[str, Any],
    db: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "banyandb-data-0"}
    metadata["labels"] = {"app": "banyandb-data", **(labels or {})}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"metadata": metadata, "spec": {"containers": [db or database(), *others], **spec}}


def injected(
    given: Mapping[str, Any],
    server: tuple[int, int] = SERVER,
    namespace: Mapping[str, str] | None = None,
    **spec: Any,
) -> Injection:
    made = inject(given, policy(**spec), server, namespace or {})
    assert made.outcome is Outcome.INJECTED, made.message
    return made


def agent_in(made: Injection | Mapping[str, Any]) -> Mapping[str, Any]:
    spec = (made.pod if isinstance(made, Injection) else made)["spec"]
    both = [*(spec.get("initContainers") or []), *spec["containers"]]
    (agent,) = [one for one in both if one["name"] == "fodc-agent"]
    return agent


def arguments(made: Injection) -> dict[str, str]:
    pairs = (one.removeprefix("--").partition("=") for one in agent_in(made)["args"])
    return {name: value for name, _, value in pairs}


def names_of(made: Injection, place: str = "containers") -> list[str]:
    return [one["name"] for one in made.pod["spec"].get(place) or []]


def container_in(made: Injection, name: str = "banyandb") -> Mapping[str, Any]:
    spec = made.pod["spec"]
    both = [*(spec.get("initContainers") or []), *spec["containers"]]
    return next(one for one in both if one["name"] == name)

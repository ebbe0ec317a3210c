# SPDX-License-Identifier: Apache-2.0
"""Pods whose containers ended, as an API server gives them."""

from typing import Any

NOON = "2026-11-18T12:00:00Z"
NOON_MS = 1_795_003_200_000


def terminated(reason: str = "OOMKilled", code: int = 137, **more: Any) -> dict[str, Any]:
    return {
        "terminated": {
            "reason": reason,
            "exitCode": code,
            "startedAt": "2026-11-18T11:00:00Z",
            "finishedAt": NOON,
            **more,
        }
    }


def status(
    name: str = "banyandb",
    *,
    state: dict[str, Any] | None = None,
    last: dict[str, Any] | None = None,
    restarts: int = 0,
) -> dict[str, Any]:
    return {
        "name": name,
        "restartCount": restarts,
        "state": {"running": {"startedAt": NOON}} if state is None else state,
        "lastState": last or {},
    }


def pod(
    *statuses: dict[str, Any],
    name: str = "data-0",
    version: str = "7",
    node: str = "machine-1",
    agent: bool = True,
    **metadata: Any,
) -> dict[str, Any]:
    both = [*statuses, *([status("fodc-agent")] if agent else [])]
    return {
        "metadata": {
            "namespace": "banyandb",
            "name": name,
            "uid": f"uid-of-{name}",
            "resourceVersion": version,
            **metadata,
        },
        "spec": {"nodeName": node, "containers": [{"name": "banyandb", "env": ["much"]}]},
        "status": {"containerStatuses": both},
    }

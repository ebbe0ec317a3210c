# SPDX-License-Identifier: Apache-2.0
"""A request as the API shows it (resource of /diagnostics/requests).

The one idea: the JSON is spelled out field by field, so that a change of the model never changes
the API by accident.  Times are RFC 3339 in UTC, what is not there is null.
"""

from typing import TypeAlias

from fodc_protocol import times
from fodc_proxy.artifacts import links
from fodc_proxy.diagnostics.model import (
    Capture,
    Execution,
    Request,
    Result,
    Selector,
    Target,
    counts,
)

Json: TypeAlias = dict[str, object]


def request_resource(request: Request, *, with_targets: bool = True) -> Json:
    """The whole resource; lists leave the targets out."""
    counted = counts(request)
    resource: Json = {
        "id": request.id,
        "revision": request.revision,
        "phase": request.phase,
        "reason": request.reason,
        "message": request.message,
        "created_at": _time(request.created_at_ms),
        "started_at": _time(request.started_at_ms),
        "finished_at": _time(request.finished_at_ms),
        "target": _selector(request.spec.selector),
        "captures": [_capture(capture) for capture in request.spec.captures],
        "execution": _execution(request.spec.execution),
        "requested_reason": request.spec.reason,
        "cancel": request.cancel,
        "counts": {
            "targets": counted.targets,
            "pending": counted.pending,
            "running": counted.running,
            "succeeded": counted.succeeded,
            "failed": counted.failed,
            "skipped": counted.skipped,
            "cancelled": counted.cancelled,
        },
        "progress": counted.progress,
    }
    if with_targets:
        resource["targets"] = [_target(target) for target in request.targets]
    return resource


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else times.format_rfc3339_ms(time_ms)


def _selector(selector: Selector) -> Json:
    return {
        "names": list(selector.names),
        "roles": list(selector.roles),
        "tiers": list(selector.tiers),
        "all": selector.all,
        "include_offline": selector.include_offline,
    }


def _capture(capture: Capture) -> Json:
    return {
        "profile": capture.profile,
        "duration_seconds": capture.duration_s if capture.profile.facts.timed else None,
        "gc": capture.gc,
    }


def _execution(execution: Execution) -> Json:
    return {
        "parallelism": execution.parallelism,
        "start_deadline_seconds": execution.start_deadline_s,
        "active_deadline_seconds": execution.active_deadline_s,
        "target_timeout_slack_seconds": execution.target_timeout_slack_s,
        "backoff_limit": execution.backoff_limit,
        "failure_policy": execution.failure_policy,
    }


def _target(target: Target) -> Json:
    return {
        "node_id": target.node_id,
        "namespace": target.namespace or None,
        "agent_id": target.agent_id,
        "role": target.role,
        "phase": target.phase,
        "reason": target.reason,
        "message": target.message,
        "attempts": target.attempts,
        "started_at": _time(target.started_at_ms),
        "finished_at": _time(target.finished_at_ms),
        "results": [_result(result) for result in target.results],
    }


def _result(result: Result) -> Json:
    stored = bool(result.artifact_id)
    return {
        "capture": result.capture,
        "profile": result.profile,
        "phase": result.phase,
        "reason": result.reason,
        "message": result.message,
        "duration_seconds": result.duration_s,
        "elapsed_seconds": result.elapsed_ms / 1000,
        "received_bytes": result.received_bytes,
        "size_bytes": result.size_bytes if stored or result.size_bytes else None,
        "sha256": result.sha256 or None,
        "samples": result.samples,
        "format": result.format or None,
        "artifact_id": result.artifact_id or None,
        "download_path": links.download_path(result.artifact_id) if stored else None,
        "empty": result.empty,
        "truncated": result.truncated,
        "warnings": list(result.warnings),
    }

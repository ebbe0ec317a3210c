# SPDX-License-Identifier: Apache-2.0
"""From a request of the proxy to the status of a DiagnosticRequest.

The one idea: the status is a function of what the proxy knows and of the object, without a clock,
so that computing it twice gives the same and what is the same is not written.
Shape: anchors-diagnostics §2.3 and the custom resource definition.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from fodc_api.words import Phase, RequestPhase
from fodc_operator.diagnostics import conditions
from fodc_operator.resources.diagnostic_request import DEFAULT_TTL_S, Identity, RequestSpec
from fodc_protocol.profiles import Profile
from fodc_protocol.times import format_rfc3339, parse_rfc3339_ms
from fodc_proxy.captures.model import Counts, Request, Result, Target, counts
from fodc_proxy.storage import names

Json: TypeAlias = dict[str, object]

MAX_TARGETS: Final = 256
MAX_BYTES: Final = 768 * 1024
"""Of the whole status; an object of etcd may have 1.5 MiB with its metadata and managed fields."""
MAX_MESSAGE: Final = 1024
MAX_DETAIL: Final = 256
MAX_WARNINGS: Final = 4
_OPEN: Final = frozenset({Phase.PENDING, Phase.RUNNING})
ENDED: Final = frozenset(phase.value for phase in RequestPhase if phase.ended)


def of_request(identity: Identity, spec: RequestSpec, request: Request) -> Json:
    """Return the status that tells of a request which the proxy has."""
    counted = counts(request)
    status: Json = {
        "observedGeneration": identity.generation,
        "phase": str(request.phase),
        "reason": request.reason,
        "message": request.message[:MAX_MESSAGE],
        "requestID": request.id,
        "captures": captures_text(spec),
        "progress": counted.progress,
        "counts": _counts(counted),
        "artifacts": _artifacts(request),
        "targets": [_target(target) for target in request.targets],
        "conditions": conditions.of_request(identity, request),
    }
    _put_time(status, "startTime", request.started_at_ms)
    if request.finished_at_ms is not None and request.phase.ended:
        status |= _end(request.finished_at_ms, spec.ttl_s)
    return bounded(status)


def waiting(identity: Identity, spec: RequestSpec, phase: RequestPhase, message: str) -> Json:
    """Return the status of a request that the proxy does not have yet."""
    return {
        "observedGeneration": identity.generation,
        "phase": str(phase),
        "message": message[:MAX_MESSAGE],
        "captures": captures_text(spec),
        "conditions": conditions.accepted_only(identity),
    }


def ended_without_request(
    identity: Identity,
    spec: RequestSpec | None,
    verdict: conditions.Verdict,
    before: Mapping[str, object],
) -> Json:
    """Return the status of a request that ends without the proxy: refused, expired, lost.

    What `before` told of ended targets and their artifacts stays: it was true when it was written;
    targets that were open end as the request does.
    """
    status: Json = {
        **_closed(before, verdict),
        "observedGeneration": identity.generation,
        "phase": str(verdict.phase),
        "reason": verdict.reason,
        "message": verdict.message[:MAX_MESSAGE],
        "conditions": conditions.of_verdict(identity, verdict, before),
    }
    if spec is not None:
        status["captures"] = captures_text(spec)
    return status | _end(verdict.at_ms, DEFAULT_TTL_S if spec is None else spec.ttl_s)


def _closed(before: Mapping[str, object], verdict: conditions.Verdict) -> Json:
    targets = before.get("targets")
    if not isinstance(targets, list):
        return dict(before)
    phase = Phase.CANCELLED if verdict.phase is RequestPhase.CANCELLED else Phase.FAILED
    cause: Json = {"phase": str(phase), "reason": verdict.reason}
    cause["message"] = verdict.message[:MAX_DETAIL]
    closed = [_closed_target(target, cause, verdict.at_ms) for target in targets]
    numbers = {word: sum(one["phase"] == word for one in closed) for word in Phase}
    counted = {str(word).lower(): number for word, number in numbers.items()}
    known = before.get("counts")
    total = known.get("targets", len(closed)) if isinstance(known, Mapping) else len(closed)
    # Targets that the status had no room for are open as far as anybody knows.
    counted[str(phase).lower()] += total - len(closed)
    progress = f"{total}/{total}"
    return {
        **before,
        "targets": closed,
        "counts": {"targets": total, **counted},
        "progress": progress,
    }


def _closed_target(target: Json, cause: Json, at_ms: int) -> Json:
    if target.get("phase") not in _OPEN:
        return target
    results = target.get("results")
    parts = results if isinstance(results, list) else []
    ended = [{**one, **cause} if one.get("phase") in _OPEN else one for one in parts]
    return {**target, **cause, "completionTime": _time(at_ms), "results": ended}


def still_ended(identity: Identity, spec: RequestSpec, before: Mapping[str, object]) -> Json:
    """Return the status of a request that ended earlier: only what the spec may change moves."""
    status: Json = {**before, "observedGeneration": identity.generation}
    ended = before.get("completionTime")
    if isinstance(ended, str):
        status["expirationTime"] = _time(parse_rfc3339_ms(ended) + spec.ttl_s * 1000)
    return status


def has_ended(status: Mapping[str, object]) -> bool:
    """Say whether a status is about a request that has ended."""
    return status.get("phase") in ENDED


def expires_at_ms(status: Mapping[str, object]) -> int | None:
    """Return when the object is to be deleted, None when that is not settled."""
    text = status.get("expirationTime")
    return parse_rfc3339_ms(text) if isinstance(text, str) else None


def captures_text(spec: RequestSpec) -> str:
    """Return the types of the captures for the table of requests."""
    return ",".join(capture.profile.facts.crd_type for capture in spec.captures)[:MAX_DETAIL]


# ---- writing less ---------------------------------------------------------------------------


def merge_patch(before: Mapping[str, object], after: Mapping[str, object]) -> Json:
    """Return what makes `before` to `after` as a JSON merge patch; empty when they are equal.

    Objects inside are replaced key by key, lists as a whole.
    """
    patch: Json = {}
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            patch[key] = merge_patch(old, new)
        else:
            patch[key] = new
    return patch


def bounded(status: Json, max_bytes: int = MAX_BYTES) -> Json:
    """Return the status with as many targets as fit, those that did not succeed first.

    What is left out is counted in the message; the proxy has all of it.
    """
    targets = status["targets"]
    assert isinstance(targets, list)
    kept = _fitting(targets, max_bytes)
    if len(kept) == len(targets):
        return status
    path = f"/diagnostics/requests/{status['requestID']}"
    note = f"{len(kept)} of {len(targets)} targets are listed, all of them at {path} of the proxy"
    told = f"{status['message']}; {note}" if status["message"] else note
    return {**status, "targets": kept, "message": told[-MAX_MESSAGE:]}


def _fitting(targets: Sequence[Json], max_bytes: int) -> list[Json]:
    left = max_bytes
    kept: list[str] = []
    for target in sorted(targets, key=lambda target: target["phase"] == Phase.SUCCEEDED):
        left -= len(json.dumps(target, separators=(",", ":"))) + 1
        if left < 0 or len(kept) >= MAX_TARGETS:
            break
        kept.append(str(target["nodeName"]))
    names = frozenset(kept)
    return [target for target in targets if target["nodeName"] in names]


# ---- parts ----------------------------------------------------------------------------------


def _end(finished_at_ms: int, ttl_s: int) -> Json:
    return {
        "completionTime": _time(finished_at_ms),
        "expirationTime": _time(finished_at_ms + ttl_s * 1000),
    }


def _counts(counted: Counts) -> Json:
    return {
        "targets": counted.targets,
        "pending": counted.pending,
        "running": counted.running,
        "succeeded": counted.succeeded,
        "failed": counted.failed,
        "skipped": counted.skipped,
        "cancelled": counted.cancelled,
    }


def _artifacts(request: Request) -> Json:
    stored = [
        result for target in request.targets for result in target.results if result.artifact_id
    ]
    return {"count": len(stored), "bytes": sum(result.size_bytes for result in stored)}


def _target(target: Target) -> Json:
    entry: Json = {
        "nodeName": target.node_id,
        "phase": str(target.phase),
        "attempts": target.attempts,
        "results": [_result(result) for result in target.results],
    }
    _put_text(entry, "agentID", target.agent_id)
    _put_text(entry, "role", role_word(target.role))
    _put_text(entry, "reason", target.reason)
    _put_text(entry, "message", target.message[:MAX_DETAIL])
    _put_time(entry, "startTime", target.started_at_ms)
    _put_time(entry, "completionTime", target.finished_at_ms)
    return entry


def _result(result: Result) -> Json:
    entry: Json = {
        "captureName": result.capture,
        "type": Profile(result.profile).facts.crd_type,
        "phase": str(result.phase),
    }
    _put_text(entry, "reason", result.reason)
    _put_text(entry, "message", result.message[:MAX_DETAIL])
    if result.artifact_id:
        entry |= _stored(result)
    return entry


def _stored(result: Result) -> Json:
    entry: Json = {
        "artifactID": result.artifact_id,
        "downloadPath": names.download_path(result.artifact_id),
        "sizeBytes": result.size_bytes,
        "sha256": result.sha256,
        "format": result.format,
        "elapsedMilliseconds": result.elapsed_ms,
        "truncated": result.truncated,
    }
    if result.samples is not None:
        entry["samples"] = result.samples
    if result.warnings:
        entry["warnings"] = [warning[:MAX_DETAIL] for warning in result.warnings[:MAX_WARNINGS]]
    return entry


def role_word(role: str) -> str:
    """Return a role as the resources write it: ROLE_DATA is Data."""
    plain = role.upper().removeprefix("ROLE_")
    return "" if plain in {"", "UNSPECIFIED"} else plain.capitalize()


def _put_text(entry: Json, name: str, text: str) -> None:
    if text:
        entry[name] = text


def _put_time(entry: Json, name: str, time_ms: int | None) -> None:
    if time_ms is not None:
        entry[name] = _time(time_ms)


def _time(time_ms: int) -> str:
    """Whole seconds, as Kubernetes writes times."""
    return format_rfc3339(time_ms // 1000)


# ---- keeping less ---------------------------------------------------------------------------

_REMEMBERED: Final = ("phase", "observedGeneration", "completionTime", "expirationTime")


def remembered(status: Mapping[str, object]) -> Mapping[str, object]:
    """Return what has to be known of a written status: little, once the request has ended."""
    if not has_ended(status):
        return status
    return {name: status[name] for name in _REMEMBERED if name in status}


_DETAILS: Final = frozenset({"targets", "counts"})


def without_details(status: Mapping[str, object]) -> Json:
    """Return a status that the schema of any version takes: no targets, no counts."""
    kept = {key: value for key, value in status.items() if key not in _DETAILS}
    return {**kept, "targets": [], "counts": None}


def details(status: Mapping[str, object]) -> Json:
    """Return what `without_details` leaves out."""
    return {key: value for key, value in status.items() if key in _DETAILS}


def only_details(changes: Mapping[str, object]) -> bool:
    """Say whether a merge patch is about nothing else."""
    return changes.keys() <= _DETAILS

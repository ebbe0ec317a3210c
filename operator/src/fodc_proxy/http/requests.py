# SPDX-License-Identifier: Apache-2.0
"""`/diagnostics/requests`: POST, list, read, wait, cancel."""

import secrets
from collections.abc import Callable
from typing import Final, TypeAlias

from fodc_api import requests as api
from fodc_api.problems import Unreadable
from fodc_api.values import time_of, time_or_none
from fodc_proxy.access.roles import rights_to_capture
from fodc_proxy.captures import model
from fodc_proxy.http.answers import Reply
from fodc_proxy.http.routes import Call, Parts
from fodc_proxy.http.selecting import check_words, known
from fodc_proxy.storage import names

DamageOf: TypeAlias = Callable[[str], str]
COLLECTION: Final = "/diagnostics/requests"


def new_request_id(now_ms: int) -> str:
    """Make an id that sorts by time and is a DNS label, such as 20261121t090823-1f3a9c04."""
    compact = "".join(mark for mark in time_of(now_ms)[:19] if mark.isalnum()).lower()
    return f"{compact}-{secrets.token_hex(4)}"


# ---- handlers -------------------------------------------------------------------------------


async def create(parts: Parts, call: Call[api.RequestSpec]) -> Reply:
    """Take a request in; an equal one of the same id is there already."""
    for right in rights_to_capture(one.profile for one in call.asked.captures):
        await call.entry.require(right)
    check_words(parts.registry, call.asked.target)
    request_id = call.asked.id or parts.new_request_id(parts.clock_ms())
    taken, is_new = await parts.engine.submit(
        spec_of(call.asked), request_id, caller=str(call.entry.caller)
    )
    call.entry.note(
        object=taken.id,
        nodes=[target.node_id for target in taken.targets],
        profiles=[str(one.profile) for one in taken.spec.captures],
    )
    headers = {"Location": f"{COLLECTION}/{taken.id}"}
    return Reply(_shown(parts, taken), 201 if is_new else 200, headers)


async def listed(parts: Parts, call: Call[api.RequestsQuery]) -> api.Requests:
    """List requests, the newest first."""
    found = parts.engine.select(phase=call.asked.phase, node_id=call.asked.node_id)
    shown = known(parts.registry, call.asked.node_id, found)
    unreadable = (Unreadable(one.key, one.message) for one in parts.unreadable_requests())
    return api.Requests(tuple(_summary(one) for one in shown), tuple(unreadable))


async def read(parts: Parts, call: Call[api.RequestQuery]) -> api.Request:
    """Return one request, after a change when that is asked for."""
    asked = call.asked
    if not asked.wait_seconds:
        return _shown(parts, parts.engine.get(call.id))
    found = await parts.engine.wait(call.id, asked.after_revision, asked.wait_seconds)
    return _shown(parts, found)


async def cancel(parts: Parts, call: Call[api.CancelQuery]) -> Reply:
    """End a request early; one that has ended stays as it is."""
    call.entry.note(mode=str(call.asked.mode))
    before = parts.engine.get(call.id)
    if before.phase.ended:
        return Reply(_shown(parts, before))
    after = await parts.engine.cancel(call.id, call.asked.mode)
    return Reply(_shown(parts, after), 202)


def _shown(parts: Parts, request: model.Request) -> api.Request:
    def damage_of(artifact_id: str) -> str:
        stored = parts.store.find(artifact_id)
        return "" if stored is None else stored.damage

    return request_of(request, damage_of)


# ---- what is asked --------------------------------------------------------------------------


def spec_of(asked: api.RequestSpec) -> model.Spec:
    """Return what the captures' room calls this; each capture gets a name within its request."""
    target, execution = asked.target, asked.execution
    return model.Spec(
        selector=model.Selector(
            names=_distinct(target.names),
            roles=_distinct(target.roles),
            tiers=_distinct(target.tiers),
            all=target.all,
            include_offline=target.include_offline,
        ),
        captures=_captures(asked.captures),
        execution=model.Execution(
            parallelism=execution.parallelism,
            start_deadline_s=execution.start_deadline_seconds,
            active_deadline_s=execution.active_deadline_seconds,
            target_timeout_slack_s=execution.target_timeout_slack_seconds,
            backoff_limit=execution.backoff_limit,
            failure_policy=execution.failure_policy,
        ),
        purpose=asked.purpose,
    )


def _distinct(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _captures(asked: tuple[api.CaptureAsked, ...]) -> tuple[model.Capture, ...]:
    captures: list[model.Capture] = []
    for one in asked:
        earlier = sum(capture.profile == one.profile for capture in captures)
        name = f"{one.profile}-{earlier + 1}" if earlier else str(one.profile)
        span_s = one.span_seconds or 0
        captures.append(
            model.Capture(
                name, one.profile, one.duration_s, one.gc, end_ms=one.end_ms, span_s=span_s
            )
        )
    return tuple(captures)


# ---- what is answered -----------------------------------------------------------------------


def request_of(request: model.Request, damage_of: DamageOf) -> api.Request:
    """Return the resource with its targets; `damage_of` says what is wrong with an artifact."""
    summary = _summary(request)
    facts = {name: getattr(summary, name) for name in summary.__struct_fields__}
    return api.Request(**facts, targets=tuple(_target(one, damage_of) for one in request.targets))


def _summary(request: model.Request) -> api.RequestSummary:
    spec, counted = request.spec, model.counts(request)
    return api.RequestSummary(
        id=request.id,
        revision=request.revision,
        phase=request.phase,
        reason=request.reason,
        message=request.message,
        created_at=time_of(request.created_at_ms),
        started_at=time_or_none(request.started_at_ms),
        finished_at=time_or_none(request.finished_at_ms),
        target=_selector(spec.selector),
        captures=tuple(_capture(capture) for capture in spec.captures),
        execution=_execution(spec.execution),
        purpose=spec.purpose,
        cancel=request.cancel,
        counts=api.Counts(
            targets=counted.targets,
            pending=counted.pending,
            running=counted.running,
            succeeded=counted.succeeded,
            failed=counted.failed,
            skipped=counted.skipped,
            cancelled=counted.cancelled,
        ),
        progress=counted.progress,
    )


def _selector(selector: model.Selector) -> api.Selector:
    return api.Selector(
        names=selector.names,
        roles=selector.roles,
        tiers=selector.tiers,
        all=selector.all,
        include_offline=selector.include_offline,
    )


def _capture(capture: model.Capture) -> api.Capture:
    timed = capture.profile.facts.timed
    return api.Capture(
        capture.profile,
        capture.duration_s if timed else None,
        capture.gc,
        time_of(capture.end_ms) if capture.end_ms else "",
        capture.span_s or None,
    )


def _execution(execution: model.Execution) -> api.Execution:
    return api.Execution(
        parallelism=execution.parallelism,
        start_deadline_seconds=execution.start_deadline_s,
        active_deadline_seconds=execution.active_deadline_s,
        target_timeout_slack_seconds=execution.target_timeout_slack_s,
        backoff_limit=execution.backoff_limit,
        failure_policy=execution.failure_policy,
    )


def _target(target: model.Target, damage_of: DamageOf) -> api.Target:
    return api.Target(
        node_id=target.node_id,
        namespace=target.namespace or None,
        agent_id=target.agent_id,
        role=target.role,
        phase=target.phase,
        reason=target.reason,
        message=target.message,
        attempts=target.attempts,
        started_at=time_or_none(target.started_at_ms),
        finished_at=time_or_none(target.finished_at_ms),
        results=tuple(_result(result, damage_of(result.artifact_id)) for result in target.results),
    )


def _result(result: model.Result, damage: str) -> api.Result:
    stored = bool(result.artifact_id)
    return api.Result(
        capture=result.capture,
        profile=result.profile,
        phase=result.phase,
        reason=result.reason,
        message=result.message,
        duration_seconds=result.duration_s,
        elapsed_seconds=result.elapsed_ms / 1000,
        received_bytes=result.received_bytes,
        size_bytes=result.size_bytes if stored or result.size_bytes else None,
        sha256=result.sha256 or None,
        samples=result.samples,
        format=result.format or None,
        artifact_id=result.artifact_id or None,
        download_path=names.download_path(result.artifact_id) if stored else None,
        empty=result.empty,
        truncated=result.truncated,
        warnings=(*result.warnings, *([f"its artifact is damaged: {damage}"] if damage else ())),
    )

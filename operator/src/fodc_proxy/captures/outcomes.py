# SPDX-License-Identifier: Apache-2.0
"""How one capture begins, ends, and is found again after a restart.

The one idea: a capture succeeds only with an artifact that holds something; everything else is a
phase with a reason and a sentence.
"""

from dataclasses import replace

from fodc_api.words import Phase
from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import Reason, advice
from fodc_protocol.link import effects as link_effects
from fodc_protocol.link.frames import CommandState
from fodc_proxy.captures.model import Request, Result

MAX_MESSAGE_LENGTH = 256


def begun(result: Result, request: Request, now_ms: int) -> Result:
    """The next attempt of a capture starts; its time is bounded by that of the request."""
    slack_ms = request.spec.execution.target_timeout_slack_s * 1000
    deadline_ms = now_ms + round(result.duration_s * 1000) + slack_ms
    active_ms = request.active_deadline_ms
    if active_ms is not None:
        deadline_ms = max(min(deadline_ms, active_ms), now_ms + 1)
    return replace(
        result,
        phase=Phase.RUNNING,
        reason="",
        message="",
        attempt=result.attempt + 1,
        started_at_ms=now_ms,
        finished_at_ms=None,
        deadline_at_ms=deadline_ms,
        elapsed_ms=0,
        received_bytes=0,
        size_bytes=0,
    )


def finished(
    result: Result,
    news: link_effects.Ended,
    manifest: Manifest | None,
    request: Request,
    now_ms: int,
) -> Result:
    """The running attempt has ended."""
    if news.state is CommandState.CAPTURED and manifest is not None:
        return with_artifact(result, manifest, now_ms)
    reason = news.reason or Reason.INTERNAL
    ending = request.cancel is not None or bool(request.tripped)
    wanted = news.state is CommandState.CANCELLED or reason in {Reason.CANCELLED, Reason.ABORTED}
    return replace(
        result,
        phase=Phase.CANCELLED if ending and wanted else Phase.FAILED,
        reason=reason,
        message=_message(reason, news.message, request if ending and wanted else None),
        empty=reason == Reason.EMPTY_PROFILE,
        finished_at_ms=now_ms,
        deadline_at_ms=None,
    )


def with_artifact(result: Result, manifest: Manifest, now_ms: int) -> Result:
    """The attempt gave an artifact; an empty one is kept to look at, and is a failure."""
    message = ""
    if manifest.empty:
        message = f"not one sample in {manifest.size_bytes} bytes. {advice(Reason.EMPTY_PROFILE)}"
    return replace(
        result,
        phase=Phase.FAILED if manifest.empty else Phase.SUCCEEDED,
        reason=Reason.EMPTY_PROFILE if manifest.empty else "",
        message=message[:MAX_MESSAGE_LENGTH],
        finished_at_ms=now_ms,
        deadline_at_ms=None,
        elapsed_ms=manifest.duration_ms,
        received_bytes=manifest.size_bytes,
        size_bytes=manifest.size_bytes,
        sha256=manifest.sha256,
        samples=manifest.samples,
        format=manifest.format,
        artifact_id=manifest.artifact_id,
        empty=manifest.empty,
        truncated=manifest.truncated,
        warnings=manifest.warnings[:4],
    )


def reattached(result: Result, manifest: Manifest | None, now_ms: int) -> Result:
    """What a running attempt is after a restart of the proxy."""
    if manifest is not None:
        return with_artifact(result, manifest, now_ms)
    if result.deadline_at_ms is None or now_ms >= result.deadline_at_ms:
        return replace(
            result,
            phase=Phase.FAILED,
            reason=Reason.DEADLINE_EXCEEDED,
            message="its deadline passed while the proxy was down",
            finished_at_ms=now_ms,
            deadline_at_ms=None,
        )
    return result


def _message(reason: str, message: str, cancelled: Request | None) -> str:
    if message:
        return message[:MAX_MESSAGE_LENGTH]
    if cancelled is not None:
        cause = cancelled.tripped
        return f"ended because {cause}" if cause else "ended on request"
    known = reason in set(Reason)
    return advice(Reason(reason)) if known else f"the agent says {reason} and nothing more"

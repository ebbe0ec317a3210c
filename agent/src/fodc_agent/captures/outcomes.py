# SPDX-License-Identifier: Apache-2.0
"""What is asked of a capture and how it can end.

The one idea: an end is one of three values, and whoever gets one must look which; nothing that
went wrong looks like a success.
"""

from typing import Final, TypeAlias

from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import Reason
from fodc_protocol.ids import checked_id
from fodc_protocol.lean import dataclass
from fodc_protocol.link import frames
from fodc_protocol.link.frames import CommandState
from fodc_protocol.profiles import Profile, parse_profile

DEFAULT_MAX_BYTES: Final = 64 << 20
SLACK_S: Final = 30.0
"""How much longer than its duration a capture may take where nothing else was said."""


@dataclass(frozen=True, slots=True)
class Order:
    """One capture to take; the id tells a repeated order from a new one.

    `timeout_s` counts from the moment when the order arrives and includes all waiting.
    """

    command_id: str
    profile: Profile
    duration_s: float
    timeout_s: float
    max_bytes: int = DEFAULT_MAX_BYTES
    gc: bool = False
    request_id: str = ""
    end_ms: int = 0
    """Of a window, in Unix milliseconds: its last instant, 0 for now."""
    span_ms: int = 0
    """How long before `end_ms` the window begins, 0 for all that there is."""


def order_of(command: frames.StartCapture) -> Order:
    """Return the order that a frame means.

    Raises BadRequestError for an unknown profile, a duration out of range or a malformed id.
    """
    profile = parse_profile(command.profile)
    asked_s = command.duration_ms / 1000 if command.duration_ms and profile.facts.timed else None
    duration_s = profile.facts.duration_s(asked_s)
    return Order(
        command_id=checked_id(command.command_id, "command_id"),
        profile=profile,
        duration_s=duration_s,
        timeout_s=command.timeout_ms / 1000 or duration_s + SLACK_S,
        max_bytes=command.max_bytes or DEFAULT_MAX_BYTES,
        gc=command.gc,
        request_id=command.request_id,
        end_ms=max(command.end_ms, 0),
        span_ms=command.span_ms,
    )


@dataclass(frozen=True, slots=True)
class Captured:
    """The result is whole in the spool."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no result; the message says what happened and what to do."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody ended it; there is no result."""

    reason: Reason
    message: str


Outcome: TypeAlias = Captured | Failed | Cancelled


def artifact_frame(manifest: Manifest) -> frames.Artifact:
    """Return how a manifest is told on the link."""
    return frames.Artifact(
        profile=manifest.profile,
        format=manifest.format,
        size_bytes=manifest.size_bytes,
        sha256=manifest.sha256,
        samples=manifest.samples or 0,
        started_at_ms=manifest.started_at_ms,
        finished_at_ms=manifest.finished_at_ms,
        truncated=manifest.truncated,
        warnings=manifest.warnings,
    )


def update_of(command_id: str, outcome: Outcome) -> frames.CommandUpdate:
    """Return how the end of a capture is told on the link."""
    match outcome:
        case Captured(manifest):
            artifact = artifact_frame(manifest)
            return frames.CommandUpdate(command_id, CommandState.CAPTURED, artifact=artifact)
        case Failed(reason, message):
            return frames.CommandUpdate(command_id, CommandState.FAILED, reason, message)
        case Cancelled(reason, message):
            return frames.CommandUpdate(command_id, CommandState.CANCELLED, reason, message)

# SPDX-License-Identifier: Apache-2.0
"""The one record of a capture: from before its agent hears of it until its end is on disk."""

from dataclasses import dataclass
from enum import Enum, auto

from fodc_protocol import ids
from fodc_protocol.artifacts import Manifest
from fodc_protocol.link import frames
from fodc_protocol.link.proxy_side import Command
from fodc_protocol.profiles import Profile, ProfileFormat, extension_of
from fodc_proxy.captures.model import Request, Result, Target
from fodc_proxy.captures.planning import Place

_COUNTED = frozenset(style.value for style in ProfileFormat if style.is_counted)


class Stage(Enum):
    """Where a capture stands between its record and its agent."""

    WAITS = auto()
    """Its start is not stored yet, so its agent is not told."""
    OPEN = auto()
    """Its agent is asked, or will be when it is there."""
    ENDED = auto()
    """Its end is not stored yet, so its agent may not forget it."""


@dataclass(slots=True)
class Capture:
    """One attempt of one capture on one node, keyed by its command's id."""

    command: Command
    place: Place
    address: str
    stage: Stage
    # The record of the request has to be stored at this revision before the stage may change.
    needs_revision: int
    # The agent has finished recording: what is left is moving bytes.
    is_recorded: bool = False
    # Until then the agent may answer a cancel.
    cancel_by_ms: int | None = None
    # The agent has told the end, and waits to be told that it may forget it.
    is_awaited: bool = False
    manifest: Manifest | None = None

    @property
    def runs(self) -> bool:
        """Whether it takes a place."""
        return self.stage is not Stage.ENDED


def order_of(
    request: Request, target: Target, result: Result, max_bytes: int, now_ms: int
) -> frames.StartCapture:
    """Return what the agent is asked for a running attempt."""
    capture = next(one for one in request.spec.captures if one.name == result.capture)
    deadline_ms = result.deadline_at_ms or now_ms
    is_window = capture.profile is Profile.WINDOW
    return frames.StartCapture(
        command_id=capture.command_id
        or ids.command_id(
            ids.RequestId(request.id), target.address, result.capture, result.attempt
        ),
        profile=result.profile,
        duration_ms=round(capture.duration_s * 1000),
        timeout_ms=max(deadline_ms - now_ms, 1),
        gc=capture.gc,
        max_bytes=max_bytes,
        request_id=request.id,
        # One cut: whenever its turn comes, each window of a request ends at the same instant.
        end_ms=(capture.end_ms or request.created_at_ms) if is_window else 0,
        span_ms=round(capture.span_s * 1000),
    )


def manifest_of(
    command_id: str,
    artifact: frames.Artifact,
    place: tuple[Request, Target, Result],
    program: tuple[str, str],
) -> Manifest:
    """Return what is known of an artifact; `program` is the agent's version and incarnation."""
    request, target, result = place
    is_countable = artifact.format in _COUNTED
    name = result.profile + extension_of(result.profile)
    return Manifest(
        artifact_id=ids.artifact_id(ids.CommandId(command_id), name),
        request_id=request.id,
        command_id=command_id,
        node=target.node_id,
        pod=target.pod_name or target.node_id,
        namespace=target.namespace,
        role=target.role,
        profile=result.profile,
        format=artifact.format,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        samples=artifact.samples if is_countable else None,
        started_at_ms=artifact.started_at_ms,
        finished_at_ms=artifact.finished_at_ms,
        duration_ms=max(artifact.finished_at_ms - artifact.started_at_ms, 0),
        empty=artifact.size_bytes == 0 or (is_countable and artifact.samples == 0),
        truncated=artifact.truncated,
        warnings=artifact.warnings,
        agent_version=program[0],
        incarnation=program[1],
    )

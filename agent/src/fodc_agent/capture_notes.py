# SPDX-License-Identifier: Apache-2.0
"""Joins the captures of the agent with its uplink, which do not know each other.

The one idea: translation only. What happened to a capture becomes what the session is told.
"""

from fodc_agent.captures.outcomes import (
    Cancelled,
    Captured,
    Failed,
    Outcome,
    artifact_frame,
)
from fodc_agent.captures.spool import Held
from fodc_agent.uplink.transfers import Notes
from fodc_protocol.link.agent_side import HeldCapture
from fodc_protocol.link.frames import CommandState


def held_capture(held: Held) -> HeldCapture:
    """Return how the session knows an outcome that an earlier life of the agent left."""
    match held.outcome:
        case Captured(manifest):
            artifact = artifact_frame(manifest)
            return HeldCapture(held.command_id, CommandState.CAPTURED, artifact=artifact)
        case Failed(reason, message):
            return HeldCapture(held.command_id, CommandState.FAILED, reason, message)
        case Cancelled(reason, message):
            return HeldCapture(held.command_id, CommandState.CANCELLED, reason, message)


def note_outcome(notes: Notes, command_id: str, outcome: Outcome) -> None:
    """Tell the session how a capture ended."""
    match outcome:
        case Captured(manifest):
            notes.captured(command_id, artifact_frame(manifest))
        case Failed(reason, message):
            notes.capture_failed(command_id, reason, message)
        case Cancelled(reason, message):
            notes.capture_cancelled(command_id, reason, message)

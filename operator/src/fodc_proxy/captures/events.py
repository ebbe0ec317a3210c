# SPDX-License-Identifier: Apache-2.0
"""What happens to captures: the one inbox of the rules."""

from dataclasses import dataclass
from typing import TypeAlias

from fodc_api.words import CancelMode
from fodc_protocol.artifacts import Manifest
from fodc_protocol.link import frames


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody wants a request to end."""

    request_id: str
    mode: CancelMode


@dataclass(frozen=True, slots=True)
class Saved:
    """A request's record is stored as it was at this revision."""

    request_id: str
    revision: int


@dataclass(frozen=True, slots=True)
class NotSaved:
    """A request's record could not be stored."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Linked:
    """An agent of this pod has a link."""

    address: str
    hello: frames.Hello


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The link is gone and no other has replaced it."""

    address: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The agent sent a frame of a command; `is_flood` when it had no credit for it."""

    address: str
    frame: frames.CommandUpdate | frames.ArtifactChunk
    is_flood: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """An artifact is stored."""

    command_id: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class NotStored:
    """Bytes of an artifact, or the artifact, could not be stored."""

    command_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


Event: TypeAlias = (
    Cancelled | Saved | NotSaved | Linked | Unlinked | Heard | Committed | NotStored | Ticked
)

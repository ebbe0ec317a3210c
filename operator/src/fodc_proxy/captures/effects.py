# SPDX-License-Identifier: Apache-2.0
"""What the rules ask of the engine; what concerns one command is done in the order it was asked."""

from dataclasses import dataclass
from typing import TypeAlias

from fodc_protocol.link import effects as link
from fodc_protocol.link import frames


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame to a pod's agent; when that cannot be, nothing is lost."""

    address: str
    frame: frames.ProxyFrame
    # The command whose earlier effects are done first, empty for none.
    command_id: str = ""


@dataclass(frozen=True, slots=True)
class Save:
    """Store this request's record; report with `Saved` or `NotSaved`."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove this request's record; the request is forgotten."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Tell:
    """This request has changed or is gone: wake who watches it."""

    request_id: str


Effect: TypeAlias = Send | Save | Remove | Tell | link.Append | link.Discard | link.Commit
Effects: TypeAlias = list[Effect]

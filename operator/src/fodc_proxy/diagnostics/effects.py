# SPDX-License-Identifier: Apache-2.0
"""What the ledger asks the coordinator to do."""

from dataclasses import dataclass
from typing import TypeAlias

from fodc_protocol.link import frames


@dataclass(frozen=True, slots=True)
class Open:
    """Open this command in the pod's book."""

    address: str
    command: frames.StartCapture


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask the agent to end this command."""

    address: str
    command_id: str
    mode: frames.CancelMode


@dataclass(frozen=True, slots=True)
class Abandon:
    """End this command whatever the agent does, unless its artifact is being stored."""

    address: str
    command_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Changed:
    """Wake who watches this request; store it when `durable`."""

    request_id: str
    durable: bool


@dataclass(frozen=True, slots=True)
class Dropped:
    """This finished request is forgotten: remove its record."""

    request_id: str


LedgerEffect: TypeAlias = Open | Cancel | Abandon | Changed | Dropped

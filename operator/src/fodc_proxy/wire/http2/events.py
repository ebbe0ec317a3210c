# SPDX-License-Identifier: Apache-2.0
"""What a connection tells of its peer."""

from dataclasses import dataclass
from typing import TypeAlias

from fodc_protocol.http2.events import Closed, Received, Reset, Room
from fodc_proxy.wire.http2.requests import Request


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream begins; with `ended` the client has nothing more to say."""

    stream_id: int
    request: Request
    ended: bool


Event: TypeAlias = Opened | Received | Reset | Room | Closed

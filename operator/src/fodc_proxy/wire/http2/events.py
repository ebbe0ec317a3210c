# SPDX-License-Identifier: Apache-2.0
"""What a connection tells of its peer."""

from dataclasses import dataclass
from typing import TypeAlias

from fodc_proxy.wire.http2.requests import Request


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream begins; with `ended` the client has nothing more to say."""

    stream_id: int
    request: Request
    ended: bool


@dataclass(frozen=True, slots=True)
class Received:
    """The client sent bytes, or its last ones."""

    stream_id: int
    data: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """A stream is over: nothing more comes and nothing can be sent."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Room:
    """The peer takes more bytes than before; what waits may be tried again."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over because the peer broke a rule; what is to be sent tells it."""

    message: str


Event: TypeAlias = Opened | Received | Reset | Room | Closed

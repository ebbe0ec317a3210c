# SPDX-License-Identifier: Apache-2.0
"""What a connection tells of its peer."""

from dataclasses import field

from fodc_protocol.lean import dataclass


@dataclass(frozen=True, slots=True)
class Received:
    """The peer sent bytes, or its last ones."""

    stream_id: int
    data: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """A stream is over: nothing more comes and nothing can be sent."""

    stream_id: int
    code: int = field(default=0, compare=False)  # as the peer gave it


@dataclass(frozen=True, slots=True)
class Room:
    """The peer takes more bytes than before; what waits may be tried again."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over because the peer broke a rule; what is to be sent tells it."""

    message: str

# SPDX-License-Identifier: Apache-2.0
"""The streams of one connection: which are open, which have ended how, and their windows."""

from typing import Final

from fodc_protocol.http2.frames import (
    FIRST_WINDOW,
    GREATEST_WINDOW,
    BrokenConnectionError,
    BrokenStreamError,
    Code,
)
from fodc_protocol.lean import dataclass

_MOST_REMEMBERED: Final = 64


@dataclass(slots=True)
class Stream:
    """One stream that has not been forgotten; windows in bytes."""

    send_window: int
    receive_window: int = FIRST_WINDOW
    length_left: int | None = None  # of the body, when the peer has told its length
    peer_ended: bool = False
    is_reset: bool = False  # nothing comes and nothing goes any more

    def received(self, size_bytes: int, flow_bytes: int, *, ended: bool) -> None:
        """Note bytes of the peer; raises BrokenStreamError."""
        if self.peer_ended:
            raise BrokenStreamError(Code.STREAM_CLOSED)
        if flow_bytes > self.receive_window:
            raise BrokenStreamError(Code.FLOW_CONTROL_ERROR)
        self.receive_window -= flow_bytes
        if self.length_left is not None:
            self.length_left -= size_bytes
            if self.length_left < 0 or (ended and self.length_left):
                raise BrokenStreamError(Code.PROTOCOL_ERROR)
        self.peer_ended = ended

    def widened(self, increment: int) -> None:
        """Note that the peer takes more; raises BrokenStreamError."""
        if increment == 0:
            raise BrokenStreamError(Code.PROTOCOL_ERROR)
        if self.send_window + increment > GREATEST_WINDOW:
            raise BrokenStreamError(Code.FLOW_CONTROL_ERROR)
        self.send_window += increment


class Streams:
    """All streams by number, and the last ones that are gone."""

    __slots__ = ("_gone", "_open", "first_window", "highest")

    def __init__(self) -> None:
        self.highest = 0
        self.first_window = FIRST_WINDOW
        self._open: dict[int, Stream] = {}
        # Of the last ones that are gone, whether the peer had ended them before we did.
        self._gone: dict[int, bool] | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def last_taken(self) -> int:
        """The last stream that the peer opened."""
        return self.highest

    def get(self, stream_id: int) -> Stream | None:
        """Return a stream that was not forgotten; raises BrokenConnectionError for one to come."""
        stream = self._open.get(stream_id)
        if stream is None and (stream_id > self.highest or stream_id % 2 == 0):
            raise BrokenConnectionError(Code.PROTOCOL_ERROR, f"stream {stream_id} was never opened")
        return stream

    def begins(self, stream_id: int) -> bool:
        """Say whether headers open this stream; False when they belong to an open one.

        Raises BrokenConnectionError for one that ended and for numbers that go back.
        """
        if stream_id in self._open:
            return False
        if stream_id % 2 == 0:
            raise BrokenConnectionError(Code.PROTOCOL_ERROR, "streams of clients have odd numbers")
        if stream_id > self.highest:
            self.highest = stream_id
            return True
        if self.ended_by_peer(stream_id) is False:
            return False
        known = self._gone is not None and stream_id in self._gone
        code = Code.STREAM_CLOSED if known else Code.PROTOCOL_ERROR
        raise BrokenConnectionError(code, f"stream {stream_id} cannot be opened again")

    def ended_by_peer(self, stream_id: int) -> bool | None:
        """Say of one that is gone whether the peer ended it; None when it is not remembered."""
        return None if self._gone is None else self._gone.get(stream_id)

    def open(self, stream_id: int) -> Stream:
        """Add a stream."""
        stream = self._open[stream_id] = Stream(self.first_window)
        return stream

    def forget(self, stream_id: int) -> None:
        """Let go of a stream; the last ones are remembered, because frames may be on their way."""
        stream = self._open.pop(stream_id, None)
        self.remember(stream_id, peer_ended=stream is not None and stream.peer_ended)

    def remember(self, stream_id: int, *, peer_ended: bool) -> None:
        """Remember how a stream ended."""
        if self._gone is None:
            self._gone = {}
        elif len(self._gone) >= _MOST_REMEMBERED:
            del self._gone[next(iter(self._gone))]
        self._gone[stream_id] = peer_ended

    def set_first_window(self, size_bytes: int) -> None:
        """Take a new first window, which moves those of all streams.

        Raises BrokenConnectionError.
        """
        moved = size_bytes - self.first_window
        self.first_window = size_bytes
        for stream in self._open.values():
            stream.send_window += moved
            if stream.send_window > GREATEST_WINDOW:
                raise BrokenConnectionError(Code.FLOW_CONTROL_ERROR, "a window beyond its bound")

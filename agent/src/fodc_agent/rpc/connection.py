# SPDX-License-Identifier: Apache-2.0
"""One HTTP/2 connection as the client sees it, without I/O: it opens streams and is answered."""

from collections.abc import Mapping
from typing import Final

from fodc_protocol.http2 import frames
from fodc_protocol.http2.blocks import Head
from fodc_protocol.http2.fields import headers_of
from fodc_protocol.http2.frames import (
    FIRST_WINDOW,
    GREATEST_WINDOW,
    PREFACE,
    BrokenStreamError,
    Code,
    Setting,
)
from fodc_protocol.http2.headers import MOST_HEADER_BYTES, Fields
from fodc_protocol.http2.side import CONNECTION_WINDOW, Side
from fodc_protocol.http2.streams import Streams
from fodc_protocol.lean import dataclass

_GREETING: Final = (
    PREFACE
    + frames.settings(
        (Setting.HEADER_TABLE_SIZE, 0),
        (Setting.ENABLE_PUSH, 0),
        (Setting.MAX_HEADER_LIST_SIZE, MOST_HEADER_BYTES),
    )
    + frames.window_update(0, CONNECTION_WINDOW - FIRST_WINDOW)
)


@dataclass(frozen=True, slots=True)
class Told:
    """Headers of an answer with HTTP's status, or with 0 what stands behind it."""

    stream_id: int
    status: int
    headers: Mapping[str, str]
    ended: bool


@dataclass(frozen=True, slots=True)
class Leaving:
    """The peer takes no more streams, and took none above this one."""

    last_stream_id: int
    code: int
    message: bytes


class OwnStreams(Streams):
    """Streams that we open, in odd numbers."""

    __slots__ = ()

    @property
    def last_taken(self) -> int:
        """None that the peer opened."""
        return 0

    def begin(self) -> int:
        """Open the next stream; return its number."""
        self.highest += 2 if self.highest else 1
        self.open(self.highest)
        return self.highest


class Connection(Side[Told | Leaving]):
    """The state of one connection; what it has to say is in `sending.out`."""

    __slots__ = ("_own", "most_streams")

    def __init__(self) -> None:
        self._own = OwnStreams()
        super().__init__(self._own, _GREETING, is_begun=True)
        self.most_streams = GREATEST_WINDOW  # at once, as the peer says

    def open(self, block: bytes) -> int:
        """Open a stream with the headers of a request; return its number."""
        stream_id = self._own.begin()
        self.sending.headers(stream_id, block)
        return stream_id

    def _take(self, head: Head | None) -> None:
        if head is None:
            return
        stream = self.streams.get(head.stream_id)
        if stream is None or stream.is_reset:
            self._late(head.stream_id, stream)
            return
        status, headers = answer_of(head.fields)
        if 100 <= status < 200 and not head.ended:
            self._bothered()
            return
        if not status and not head.ended:
            raise BrokenStreamError(Code.PROTOCOL_ERROR)
        if head.ended:
            stream.received(0, 0, ended=True)
        self.events.append(Told(head.stream_id, status, headers, head.ended))

    def _set(self, name: int, value: int) -> None:
        super()._set(name, value)
        if name == Setting.MAX_CONCURRENT_STREAMS:
            self.most_streams = value

    def _parted(self, last_stream_id: int, code: int, message: bytes) -> None:
        self.events.append(Leaving(last_stream_id, code, message))


def answer_of(fields: Fields) -> tuple[int, dict[str, str]]:
    """Return HTTP's status, 0 where there is none, and the headers; raises BrokenStreamError."""
    if not fields or fields[0][0] != b":status":
        return 0, headers_of(fields)
    told = fields[0][1]
    if len(told) != 3 or not told.isdigit() or told < b"100":
        raise BrokenStreamError(Code.PROTOCOL_ERROR)
    return int(told), headers_of(fields[1:])

# SPDX-License-Identifier: Apache-2.0
"""One connection as the server sees it: a client opens streams by headers and ends them."""

from typing import Final

from fodc_protocol.http2 import frames
from fodc_protocol.http2.blocks import Head
from fodc_protocol.http2.events import Received
from fodc_protocol.http2.fields import headers_of
from fodc_protocol.http2.frames import BrokenStreamError, Code, Setting
from fodc_protocol.http2.headers import MOST_HEADER_BYTES
from fodc_protocol.http2.side import CONNECTION_WINDOW, Side
from fodc_protocol.http2.streams import Streams
from fodc_proxy.wire.http2.events import Opened
from fodc_proxy.wire.http2.requests import request_of

MOST_STREAMS: Final = 128
"""Streams of one connection: an agent has one or seven, a gateway carries several agents."""
_GREETING: Final = frames.settings(
    (Setting.HEADER_TABLE_SIZE, 0),
    (Setting.MAX_CONCURRENT_STREAMS, MOST_STREAMS),
    (Setting.MAX_HEADER_LIST_SIZE, MOST_HEADER_BYTES),
) + frames.window_update(0, CONNECTION_WINDOW - frames.FIRST_WINDOW)


class Connection(Side[Opened]):
    """The state of one connection; what it has to say is in `sending.out`."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(Streams(), _GREETING, is_begun=False)

    def _take(self, head: Head | None) -> None:
        if head is None:
            return
        if self.streams.begins(head.stream_id):
            self._open(head)
            return
        stream = self.streams.get(head.stream_id)
        if stream is None or stream.is_reset:
            self._late(head.stream_id, stream)
            return
        if not stream.peer_ended and not head.ended:
            raise BrokenStreamError(Code.PROTOCOL_ERROR)
        stream.received(0, 0, ended=True)
        headers_of(head.fields)
        self.events.append(Received(head.stream_id, b"", ended=True))

    def _open(self, head: Head) -> None:
        self._bothered()  # whether a stream is of use is seen later
        if head.depends_on_itself:
            raise BrokenStreamError(Code.PROTOCOL_ERROR)
        if len(self.streams) >= MOST_STREAMS:
            raise BrokenStreamError(Code.REFUSED_STREAM)
        request = request_of(head.fields)
        length_bytes = request.length_bytes()
        if head.ended and length_bytes:
            raise BrokenStreamError(Code.PROTOCOL_ERROR)
        stream = self.streams.open(head.stream_id)
        stream.length_left, stream.peer_ended = length_bytes, head.ended
        self.events.append(Opened(head.stream_id, request, head.ended))

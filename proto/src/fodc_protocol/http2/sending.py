# SPDX-License-Identifier: Apache-2.0
"""What goes to the peer: frames in `out`, within the windows that it has given."""

from fodc_protocol.http2 import frames
from fodc_protocol.http2.frames import (
    FIRST_WINDOW,
    FRAME_BYTES,
    GREATEST_WINDOW,
    BrokenConnectionError,
    Code,
    Kind,
)
from fodc_protocol.http2.streams import Streams


class Sending:
    """The sending half of a connection; the shell empties `out`."""

    __slots__ = ("_first", "_streams", "_window", "out")

    def __init__(self, streams: Streams, greeting: bytes) -> None:
        self.out: list[bytes] = [greeting]
        self._streams = streams
        self._window = FIRST_WINDOW
        # Before the first block: we have no table, however small the peer wants it (RFC 7541, 4.2).
        self._first = b"\x20"

    def widened(self, increment: int) -> None:
        """Note that the peer takes more over all streams; raises BrokenConnectionError."""
        self._window += increment
        if increment == 0:
            raise frames.wrong("a window that is widened by nothing")
        if self._window > GREATEST_WINDOW:
            raise BrokenConnectionError(Code.FLOW_CONTROL_ERROR, "a window beyond its bound")

    def headers(self, stream_id: int, block: bytes, *, ended: bool = False) -> None:
        """Send a header block; `ended` makes it the last word.

        A client that has more to say is asked to stop.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_reset:
            return
        self._block(stream_id, block, frames.END_STREAM if ended else 0)
        if ended and not stream.peer_ended:
            self.out.append(frames.rst_stream(stream_id, Code.NO_ERROR))
        stream.is_reset = ended

    def _block(self, stream_id: int, block: bytes, flags: int) -> None:
        kind = Kind.HEADERS
        block, self._first = self._first + block, b""
        while len(block) > FRAME_BYTES:
            self.out.append(frames.frame(kind, flags, stream_id, block[:FRAME_BYTES]))
            kind, flags, block = Kind.CONTINUATION, 0, block[FRAME_BYTES:]
        self.out.append(frames.frame(kind, flags | frames.END_HEADERS, stream_id, block))

    def room(self, stream_id: int) -> int:
        """Return how many bytes the peer takes of a stream; less than 1 for none."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_reset:
            return 0
        return min(self._window, stream.send_window)

    def data(self, stream_id: int, data: memoryview, most_bytes: int) -> int:
        """Send as much as both windows and `most_bytes` allow; return how many bytes that were."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_reset:
            return 0
        size = max(0, min(len(data), most_bytes, self._window, stream.send_window))
        for at in range(0, size, FRAME_BYTES):
            piece = bytes(data[at : min(size, at + FRAME_BYTES)])
            self.out.append(frames.frame(Kind.DATA, 0, stream_id, piece))
        self._window -= size
        stream.send_window -= size
        return size

    def end(self, stream_id: int) -> None:
        """Say that no more bytes follow; the peer may go on."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.is_reset:
            self.out.append(frames.frame(Kind.DATA, frames.END_STREAM, stream_id))

    def reset(self, stream_id: int, code: Code) -> None:
        """End a stream without a status."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.is_reset:
            stream.is_reset = True
            self.out.append(frames.rst_stream(stream_id, code))

    def ping(self) -> None:
        """Ask whether the peer is still there."""
        self.out.append(frames.frame(Kind.PING, 0, 0, bytes(8)))

    def goodbye(self, code: Code = Code.NO_ERROR, message: str = "") -> None:
        """Say that no more streams are taken: the peer is to call somebody else."""
        self.out.append(frames.goaway(self._streams.last_taken, code, message))

# SPDX-License-Identifier: Apache-2.0
"""Header blocks as they come: in one HEADERS frame, or with CONTINUATION frames behind it."""

from fodc_protocol.http2 import frames
from fodc_protocol.http2.frames import BrokenConnectionError, Code, wrong
from fodc_protocol.http2.headers import MOST_HEADER_BYTES, Fields, HeaderReader
from fodc_protocol.lean import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """A header block that is complete."""

    stream_id: int
    fields: Fields
    ended: bool
    depends_on_itself: bool = False


class Blocks:
    """The block of one connection that is not complete yet; there is at most one."""

    __slots__ = ("_data", "_ended", "_is_circular", "_reader", "stream_id")

    def __init__(self) -> None:
        self.stream_id = 0  # whose block is not complete, 0 for none
        self._data = b""
        self._ended = self._is_circular = False
        self._reader = HeaderReader()

    def forbid_table(self) -> None:
        """Allow the peer no table from now on."""
        self._reader.forbid_table()

    def begin(self, flags: int, stream_id: int, payload: bytes) -> Head | None:
        """Take a HEADERS frame; raises BrokenConnectionError."""
        data = frames.unpadded(flags, payload)
        self._is_circular = False
        if flags & frames.PRIORITIZED:
            if len(data) < frames.PRIORITY_BYTES:
                raise BrokenConnectionError(Code.FRAME_SIZE_ERROR, "HEADERS without a priority")
            self._is_circular = frames.number_of(data) == stream_id
            data = data[frames.PRIORITY_BYTES :]
        self.stream_id, self._data = stream_id, data
        self._ended = bool(flags & frames.END_STREAM)
        return self._complete(flags)

    def go_on(self, flags: int, stream_id: int, payload: bytes) -> Head | None:
        """Take a CONTINUATION frame; raises BrokenConnectionError."""
        if not self.stream_id:
            raise wrong(f"CONTINUATION of nothing on {stream_id}")
        self._data += payload
        if len(self._data) > MOST_HEADER_BYTES:
            message = f"headers of more than {MOST_HEADER_BYTES} bytes"
            raise BrokenConnectionError(Code.ENHANCE_YOUR_CALM, message)
        return self._complete(flags)

    def _complete(self, flags: int) -> Head | None:
        if not flags & frames.END_HEADERS:
            return None
        stream_id, self.stream_id = self.stream_id, 0
        data, self._data = self._data, b""
        return Head(stream_id, self._reader.read(data), self._ended, self._is_circular)

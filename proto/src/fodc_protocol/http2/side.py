# SPDX-License-Identifier: Apache-2.0
"""One connection as either side sees it, without I/O: `receive` bytes, take `events`.

The one idea: nothing here grows by what a peer does. Streams, header blocks and windows have a
bound each; and everything that costs work and brings nothing (resets, pings, settings, tiny
frames, refused streams) is taken from an allowance that `forgive` fills again every few seconds.
A peer that has used it up is told to calm down and is gone. Only what headers mean differs.
"""

from abc import abstractmethod
from typing import ClassVar, Final, Generic, TypeAlias, TypeVar

from fodc_protocol.http2 import frames
from fodc_protocol.http2.blocks import Blocks, Head
from fodc_protocol.http2.events import Closed, Received, Reset, Room
from fodc_protocol.http2.frames import (
    FRAME_BYTES,
    GREATEST_WINDOW,
    BrokenConnectionError,
    BrokenStreamError,
    Code,
    Kind,
    Setting,
    wrong,
)
from fodc_protocol.http2.sending import Sending
from fodc_protocol.http2.streams import Stream, Streams

ALLOWANCE: Final = 2_000
CONNECTION_WINDOW: Final = 1 << 20
"""Bytes on their way over all streams of a connection; taken note of at once."""
_SMALL_BYTES: Final = 32
_WORTH_BYTES: Final = 4096
_OF_THE_CONNECTION: Final = frozenset({Kind.SETTINGS, Kind.PING, Kind.GOAWAY})
_T = TypeVar("_T")
Common: TypeAlias = Received | Reset | Room | Closed


class Side(Generic[_T]):
    """The state of one connection; what it has to say is in `sending.out`.

    `events` has those of both sides and the ones of this side alone.
    """

    __slots__ = (
        "_allowance",
        "_blocks",
        "_is_begun",
        "_window",
        "events",
        "is_closed",
        "is_greeted",
        "sending",
        "streams",
    )

    def __init__(self, streams: Streams, greeting: bytes, *, is_begun: bool) -> None:
        """Begin with a greeting; `is_begun` for a peer that sends no preface before its frames."""
        self.events: list[Common | _T] = []
        self.is_closed = False
        self.is_greeted = False  # the peer has begun as HTTP/2 does
        self.streams = streams
        self.sending = Sending(streams, greeting)
        self._is_begun = is_begun  # the preface has come, the settings behind it perhaps not
        self._blocks = Blocks()
        self._allowance = ALLOWANCE
        self._window = CONNECTION_WINDOW

    def receive(self, data: memoryview) -> int:
        """Read what came; return how many bytes of it are done with.

        The rest, at most a frame, begins the next call. Never raises: a peer that breaks a rule
        gets a GOAWAY, and `events` ends with Closed.
        """
        if self.is_closed:
            return len(data)
        at = 0
        try:
            if not self._is_begun:
                at = self._preface(data)
            while self._is_begun and (size := _next_size(data, at)):
                self._frame(data, at, size)
                at += size
        except BrokenConnectionError as error:
            self.is_closed = True
            self.sending.goodbye(error.code, error.message)
            self.events.append(Closed(error.message))
            return len(data)
        return at

    def allow(self, stream_id: int, least_bytes: int, wanted_bytes: int) -> None:
        """Let the peer send at least so many bytes from now.

        What is wanted above is given in one step with it, so that leave is rarely told.
        """
        stream = self.streams.get(stream_id)
        if stream is None or stream.peer_ended or stream.is_reset:
            return
        if stream.receive_window < max(least_bytes, wanted_bytes // 2):
            self._widen(stream_id, stream, wanted_bytes - stream.receive_window)

    def forgive(self) -> None:
        """Fill the allowance again; called every few seconds."""
        self._allowance = ALLOWANCE

    # ---- frames ---------------------------------------------------------------------------------

    def _preface(self, data: memoryview) -> int:
        begun = bytes(data[: len(frames.PREFACE)])
        if not frames.PREFACE.startswith(begun):
            raise wrong("no HTTP/2 preface")
        self._is_begun = len(begun) == len(frames.PREFACE)
        return len(begun) if self._is_begun else 0

    def _frame(self, data: memoryview, at: int, size: int) -> None:
        _, _, kind, flags, stream_id = frames.HEAD.unpack_from(data, at)
        stream_id &= GREATEST_WINDOW
        unfinished = self._blocks.stream_id
        if unfinished and (kind != Kind.CONTINUATION or stream_id != unfinished):
            raise wrong("a frame between headers")
        if not self.is_greeted and kind != Kind.SETTINGS:
            raise wrong("SETTINGS must come first")
        taker = self._TAKERS.get(kind)
        if taker is None:
            self._bothered()
            return
        if (stream_id == 0) is not (kind in _OF_THE_CONNECTION) and kind != Kind.WINDOW_UPDATE:
            raise wrong(f"{Kind(kind).name} on stream {stream_id}")
        try:
            taker(self, flags, stream_id, bytes(data[at + frames.HEAD_BYTES : at + size]))
        except BrokenStreamError as error:
            self._broke(stream_id, error.code)

    def _bothered(self) -> None:
        """Note a frame that costs work and brings nothing."""
        self._allowance -= 1
        if self._allowance < 0:
            message = "too many frames that bring nothing"
            raise BrokenConnectionError(Code.ENHANCE_YOUR_CALM, message)

    def _broke(self, stream_id: int, code: Code) -> None:
        self._bothered()
        stream = self.streams.get(stream_id)
        if stream is None:
            self.streams.remember(stream_id, peer_ended=False)
        elif not stream.is_reset:
            stream.is_reset = True
            self.events.append(Reset(stream_id))
        self.sending.out.append(frames.rst_stream(stream_id, code))

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        flow_bytes = len(payload)
        self._flowed(flow_bytes)
        data = frames.unpadded(flags, payload)
        stream = self.streams.get(stream_id)
        if stream is None or stream.is_reset:
            self._late(stream_id, stream)
            return
        ended = bool(flags & frames.END_STREAM)
        stream.received(len(data), flow_bytes, ended=ended)
        if len(data) < _SMALL_BYTES and not ended:
            self._bothered()
        elif len(data) >= _WORTH_BYTES and self._allowance < ALLOWANCE:
            self._allowance += 1  # it may end in a small one
        if flow_bytes > len(data):
            self._bothered()
            self._widen(stream_id, stream, flow_bytes - len(data))
        self.events.append(Received(stream_id, data, ended))

    def _flowed(self, flow_bytes: int) -> None:
        """Note bytes over all streams; the windows of streams are what holds them back."""
        self._window -= flow_bytes
        if self._window < 0:
            raise BrokenConnectionError(Code.FLOW_CONTROL_ERROR, "more than the window allows")
        if self._window < CONNECTION_WINDOW // 2:
            self.sending.out.append(frames.window_update(0, CONNECTION_WINDOW - self._window))
            self._window = CONNECTION_WINDOW

    def _widen(self, stream_id: int, stream: Stream, increment: int) -> None:
        self.sending.out.append(frames.window_update(stream_id, increment))
        stream.receive_window += increment

    def _late(self, stream_id: int, stream: Stream | None) -> None:
        """Pass over what was on its way when we ended a stream; anything else is refused."""
        self._bothered()
        ended = self.streams.ended_by_peer(stream_id) if stream is None else stream.peer_ended
        if ended is not False:
            raise BrokenStreamError(Code.STREAM_CLOSED)

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._take(self._blocks.begin(flags, stream_id, payload))

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._bothered()
        self._take(self._blocks.go_on(flags, stream_id, payload))

    @abstractmethod
    def _take(self, head: Head | None) -> None:
        """Take a block of headers, None while it is not complete."""

    def _set(self, name: int, value: int) -> None:
        """Take a setting of the peer that was checked."""
        if name == Setting.INITIAL_WINDOW_SIZE:
            self.streams.set_first_window(value)

    def _parted(self, last_stream_id: int, code: int, message: bytes) -> None:
        """Take the peer's goodbye; a client that says it may go on with what it has begun."""

    def _priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._bothered()
        frames.exactly(payload, frames.PRIORITY_BYTES, Kind.PRIORITY)
        if frames.number_of(payload) == stream_id:
            raise BrokenStreamError(Code.PROTOCOL_ERROR)

    def _rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._bothered()
        frames.exactly(payload, 4, Kind.RST_STREAM)
        stream = self.streams.get(stream_id)
        if stream is None:
            self.streams.remember(stream_id, peer_ended=True)
            return
        stream.peer_ended = True
        if not stream.is_reset:
            stream.is_reset = True
            self.events.append(Reset(stream_id, frames.number_of(payload)))

    def _settings(self, flags: int, _stream_id: int, payload: bytes) -> None:
        self._bothered()
        if flags & frames.ACK:
            frames.exactly(payload, 0, Kind.SETTINGS)
            self._blocks.forbid_table()
            return
        for name, value in frames.pairs_of(payload):
            frames.check_setting(name, value)
            self._set(name, value)
        self.is_greeted = True
        self.sending.out.append(frames.frame(Kind.SETTINGS, frames.ACK, 0))
        self.events.append(Room())

    def _push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise wrong("PUSH_PROMISE, which nobody allowed")

    def _ping(self, flags: int, _stream_id: int, payload: bytes) -> None:
        self._bothered()
        frames.exactly(payload, 8, Kind.PING)
        if not flags & frames.ACK:
            self.sending.out.append(frames.frame(Kind.PING, frames.ACK, 0, payload))

    def _goaway(self, _flags: int, _stream_id: int, payload: bytes) -> None:
        self._bothered()
        if len(payload) < 8:
            raise BrokenConnectionError(Code.FRAME_SIZE_ERROR, "GOAWAY must have 8 bytes")
        self._parted(frames.number_of(payload), frames.number_of(payload[4:]), payload[8:])

    def _window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._bothered()
        increment = frames.number_of(frames.exactly(payload, 4, Kind.WINDOW_UPDATE))
        if stream_id == 0:
            self.sending.widened(increment)
        elif (stream := self.streams.get(stream_id)) is not None:
            stream.widened(increment)
        self.events.append(Room())

    _TAKERS: ClassVar = {
        Kind.DATA: _data,
        Kind.HEADERS: _headers,
        Kind.PRIORITY: _priority,
        Kind.RST_STREAM: _rst_stream,
        Kind.SETTINGS: _settings,
        Kind.PUSH_PROMISE: _push_promise,
        Kind.PING: _ping,
        Kind.GOAWAY: _goaway,
        Kind.WINDOW_UPDATE: _window_update,
        Kind.CONTINUATION: _continuation,
    }


def _next_size(data: memoryview, at: int) -> int:
    """Return the size of the frame that begins here, 0 while it is not complete."""
    left = len(data) - at
    if left < frames.HEAD_BYTES:
        return 0
    length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
    if length > FRAME_BYTES:
        raise BrokenConnectionError(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
    size = frames.HEAD_BYTES + length
    return size if left >= size else 0

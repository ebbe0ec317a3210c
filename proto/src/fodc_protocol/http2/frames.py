# SPDX-License-Identifier: Apache-2.0
"""Frames as bytes, and the errors that a frame may be (RFC 9113, sections 4, 6 and 7)."""

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
FRAME_BYTES: Final = 16_384
"""The largest payload that either side sends: what every peer takes without being asked."""
GREATEST_WINDOW: Final = 2**31 - 1
FIRST_WINDOW: Final = 65_535
"""What may be sent before anybody has said a word about it."""

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

PRIORITY_BYTES: Final = 5

HEAD: Final = struct.Struct(">BHBBI")
_NUMBER: Final = struct.Struct(">I")
_SETTING: Final = struct.Struct(">HI")
_MOST_SETTINGS: Final = 32


class Kind(IntEnum):
    """What a frame is."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """What a peer may set."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class BrokenConnectionError(Exception):
    """The peer broke a rule after which nothing that it sends can be trusted."""

    def __init__(self, code: Code, message: str) -> None:
        """Keep the code and what was wrong."""
        super().__init__(message)
        self.code = code
        self.message = message


class BrokenStreamError(Exception):
    """The peer broke a rule that costs it one stream."""

    def __init__(self, code: Code) -> None:
        """Keep the code."""
        super().__init__(code.name)
        self.code = code


def frame(kind: Kind, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return one frame; `payload` has at most FRAME_BYTES."""
    size = len(payload)
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream_id) + payload


def settings(*pairs: tuple[Setting, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in pairs))


def window_update(stream_id: int, increment: int) -> bytes:
    """Return leave to send so many bytes more; stream 0 is the connection."""
    return frame(Kind.WINDOW_UPDATE, 0, stream_id, _NUMBER.pack(increment))


def rst_stream(stream_id: int, code: Code) -> bytes:
    """Return the end of a stream."""
    return frame(Kind.RST_STREAM, 0, stream_id, _NUMBER.pack(code))


def goaway(last_stream_id: int, code: Code, message: str = "") -> bytes:
    """Return the end of a connection and the last stream that was taken in."""
    told = _NUMBER.pack(last_stream_id) + _NUMBER.pack(code) + message.encode()
    return frame(Kind.GOAWAY, 0, 0, told)


def number_of(payload: bytes) -> int:
    """Return the 31 bits of a WINDOW_UPDATE or the first four bytes of a PRIORITY."""
    return int.from_bytes(payload[:4], "big") & 0x7FFFFFFF


def pairs_of(payload: bytes) -> list[tuple[int, int]]:
    """Return what a SETTINGS frame sets; raises BrokenConnectionError."""
    if len(payload) % _SETTING.size:
        raise BrokenConnectionError(Code.FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
    if len(payload) > _MOST_SETTINGS * _SETTING.size:
        # Each first window is work for every stream.
        raise BrokenConnectionError(Code.ENHANCE_YOUR_CALM, "too many settings in one frame")
    return list(_SETTING.iter_unpack(payload))


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return a payload without its padding; raises BrokenConnectionError."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise BrokenConnectionError(Code.PROTOCOL_ERROR, "padding as long as its frame")
    return payload[1 : len(payload) - payload[0]]


def exactly(payload: bytes, size: int, kind: Kind) -> bytes:
    """Return a payload of a fixed size; raises BrokenConnectionError."""
    if len(payload) != size:
        raise BrokenConnectionError(Code.FRAME_SIZE_ERROR, f"{kind.name} must have {size} bytes")
    return payload


def wrong(message: str) -> BrokenConnectionError:
    """Return the error of a peer that broke the protocol."""
    return BrokenConnectionError(Code.PROTOCOL_ERROR, message)


def check_setting(name: int, value: int) -> None:
    """Refuse what may not be set; raises BrokenConnectionError."""
    if name == Setting.INITIAL_WINDOW_SIZE and value > GREATEST_WINDOW:
        raise BrokenConnectionError(Code.FLOW_CONTROL_ERROR, "a window beyond its bound")
    if (name == Setting.ENABLE_PUSH and value > 1) or (
        name == Setting.MAX_FRAME_SIZE and not FRAME_BYTES <= value < 1 << 24
    ):
        raise wrong(f"{Setting(name).name} of {value}")

# SPDX-License-Identifier: Apache-2.0
"""How a call ends, and the header blocks that tell it."""

from typing import Final

from fodc_protocol.grpc_status import Status
from fodc_protocol.http2.headers import literal

_MOST_MESSAGE_BYTES: Final = 2048
# What stays as it is in a grpc-message: printable ASCII but for the percent sign.
_AS_IT_IS: Final = frozenset(range(0x20, 0x7F)) - {0x25}
_CONTENT: Final = literal(b"content-type", b"application/grpc")
_STATUS_200: Final = b"\x88"

HEADERS: Final = _STATUS_200 + _CONTENT
"""What every call that is answered begins with."""


class AbortedError(Exception):
    """A handler ends its call with a status."""

    def __init__(self, status: Status, message: str) -> None:
        """Keep the status and the words for the client."""
        super().__init__(message)
        self.status = status
        self.message = message


class StreamOverError(Exception):
    """Nothing can be sent on a call any more."""


def trailers(status: Status, message: str = "") -> bytes:
    """Return the block that ends a call that was answered."""
    block = literal(b"grpc-status", b"%d" % status)
    return block + literal(b"grpc-message", percent_encoded(message)) if message else block


def refusal(status: Status, message: str) -> bytes:
    """Return the block that ends a call that was not answered with anything yet."""
    block = HEADERS + trailers(status, message)
    if status is Status.UNIMPLEMENTED:
        block += literal(b"grpc-accept-encoding", b"identity")
    return block


def percent_encoded(message: str) -> bytes:
    """Return a text as grpc-message carries it, at most 2 KiB of it."""
    out = bytearray()
    for byte in message.encode(errors="replace"):
        piece = bytes((byte,)) if byte in _AS_IT_IS else b"%%%02X" % byte
        if len(out) + len(piece) > _MOST_MESSAGE_BYTES:
            break
        out += piece
    return bytes(out)


def refused_by_http(code: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Return the answer to a request that is no gRPC at all."""
    return literal(b":status", code) + b"".join(literal(*pair) for pair in more)

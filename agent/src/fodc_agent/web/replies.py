# SPDX-License-Identifier: Apache-2.0
"""What a route answers: a status, a content type and a body in pieces."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Final, TypeAlias

from fodc_protocol.lean import dataclass

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
_PIECE_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; a body of bytes is sent with its length, an iterable of pieces in chunks."""

    status: int
    content_type: str
    body: bytes | Iterable[bytes]
    headers: tuple[tuple[str, str], ...] = ()


Route: TypeAlias = Callable[[], Reply]
"""Answers GET and HEAD of one path; what it raises becomes a 500."""


def text_reply(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Return a line of text, as the existing agent answers errors."""
    no_sniff = ("X-Content-Type-Options", "nosniff")
    return Reply(status, TEXT, f"{text}\n".encode(), (no_sniff, *headers))


NOT_FOUND: Final = text_reply(404, "404 page not found")
NOT_ALLOWED: Final = text_reply(405, "Method Not Allowed", (("Allow", "GET, HEAD"),))


def coalesced(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces to about 32 KiB: a family of one line is no reason for a packet."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting.clear()
            size = 0
    if size:
        yield b"".join(waiting)


def primed(reply: Reply) -> Reply:
    """Return the reply with its first piece computed.

    What fails so early can still become a 500 instead of half an answer.
    """
    if isinstance(reply.body, bytes):
        return reply
    pieces = coalesced(reply.body)
    first = next(pieces, b"")
    return replace(reply, body=chain((first,), pieces))

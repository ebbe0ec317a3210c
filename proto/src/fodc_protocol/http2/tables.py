# SPDX-License-Identifier: Apache-2.0
"""The two tables of header fields: the one that everybody has, and what a peer adds to it.

RFC 7541, sections 2.3 and 4, appendix A.
"""

from collections import deque
from typing import Final, TypeAlias

Field: TypeAlias = tuple[bytes, bytes]

FIELD_BYTES: Final = 32
"""What a field counts beside its name and value."""
_WITH_VALUES: Final[tuple[Field, ...]] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    *((b":status", code) for code in b"200 204 206 304 400 404 500".split()),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
)
_NAMES: Final = (
    b"accept-language accept-ranges accept access-control-allow-origin age allow authorization "
    b"cache-control content-disposition content-encoding content-language content-length "
    b"content-location content-range content-type cookie date etag expect expires from host "
    b"if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link "
    b"location max-forwards proxy-authenticate proxy-authorization range referer refresh "
    b"retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary "
    b"via www-authenticate"
)
STATIC: Final[tuple[Field, ...]] = (*_WITH_VALUES, *((name, b"") for name in _NAMES.split()))
"""Fields by their index, of which the first is 1."""


class Table:
    """What a peer added last, within a bound in bytes."""

    __slots__ = ("_fields", "_left_bytes", "_most_bytes")

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = self._left_bytes = most_bytes
        self._fields: deque[Field] = deque()

    def get(self, place: int) -> Field | None:
        """Return what was added as the last but `place`, None where there is nothing."""
        return self._fields[place] if place < len(self._fields) else None

    def add(self, field: Field) -> None:
        """Add a field; one that is larger than the whole table empties it."""
        self._left_bytes -= _size_bytes(field)
        self._fields.appendleft(field)
        self._drop()

    def resize(self, most_bytes: int) -> None:
        """Take another bound."""
        self._left_bytes += most_bytes - self._most_bytes
        self._most_bytes = most_bytes
        self._drop()

    def _drop(self) -> None:
        """Let the oldest go until the rest is within the bound."""
        while self._left_bytes < 0:
            self._left_bytes += _size_bytes(self._fields.pop())


def _size_bytes(field: Field) -> int:
    return len(field[0]) + len(field[1]) + FIELD_BYTES

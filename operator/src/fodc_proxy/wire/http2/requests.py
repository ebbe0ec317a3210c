# SPDX-License-Identifier: Apache-2.0
"""What a client asks for: the fields of a request, checked as RFC 9113 §8 says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fodc_protocol.http2.fields import headers_of
from fodc_protocol.http2.frames import BrokenStreamError, Code
from fodc_protocol.http2.headers import Fields

_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_NEEDED: Final = (b":method", b":scheme", b":path")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Request:
    """One request; values that came more than once are joined by commas."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)  # they hold tokens

    def length_bytes(self) -> int | None:
        """Return what the client says its body has; raises BrokenStreamError."""
        told = self.headers.get("content-length")
        if told is None:
            return None
        if _LENGTH.fullmatch(told) is None:
            raise BrokenStreamError(Code.PROTOCOL_ERROR)
        return int(told)


def request_of(fields: Fields) -> Request:
    """Return the request that a block of headers is; raises BrokenStreamError."""
    pseudo: dict[bytes, bytes] = {}
    at = 0
    while at < len(fields) and fields[at][0][:1] == b":":
        name, value = fields[at]
        if name not in _PSEUDO or name in pseudo:
            raise BrokenStreamError(Code.PROTOCOL_ERROR)
        pseudo[name] = value
        at += 1
    if not all(map(pseudo.get, _NEEDED)):
        raise BrokenStreamError(Code.PROTOCOL_ERROR)
    method, path = pseudo[b":method"].decode("latin-1"), pseudo[b":path"].decode("latin-1")
    return Request(method, path, headers_of(fields[at:]))

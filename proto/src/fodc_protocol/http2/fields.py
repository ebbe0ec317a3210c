# SPDX-License-Identifier: Apache-2.0
"""Fields of headers and trailers by name, checked as RFC 9113 §8.2 says."""

import re
from functools import lru_cache
from typing import Final

from fodc_protocol.http2.frames import BrokenStreamError, Code
from fodc_protocol.http2.headers import Fields

_FORBIDDEN: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]{1,256}")
_IN_NO_VALUE: Final = re.compile(rb"[\x00\r\n]")
# What is the same, or one of few, for most calls is read once; tokens are none of it.
_COMMON: Final = frozenset({b"content-type", b"te", b"user-agent", b"agent_id"})
_COMMON_BYTES: Final = 64


def headers_of(fields: Fields) -> dict[str, str]:
    """Return fields of headers or trailers by name; raises BrokenStreamError."""
    headers: dict[str, str] = {}
    for field in fields:
        is_common = len(field[1]) <= _COMMON_BYTES and field[0] in _COMMON
        name, value = _known(field) if is_common else _checked(field)
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _checked(raw: tuple[bytes, bytes]) -> tuple[str, str]:
    """Return a field as texts; raises BrokenStreamError."""
    name, value = raw[0].decode("latin-1"), raw[1].decode("latin-1")
    is_wrong = _NAME.fullmatch(raw[0]) is None or _IN_NO_VALUE.search(raw[1])
    if is_wrong or name in _FORBIDDEN or (name == "te" and value != "trailers"):
        raise BrokenStreamError(Code.PROTOCOL_ERROR)
    return name, value


_known: Final = lru_cache(512)(_checked)

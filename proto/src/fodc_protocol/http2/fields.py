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
_COMMON_BYTES: Final = 64


def headers_of(fields: Fields) -> dict[str, str]:
    """Return fields of headers or trailers by name; raises BrokenStreamError."""
    headers: dict[str, str] = {}
    for raw, value in fields:
        name = _common_name(raw) if len(raw) <= _COMMON_BYTES else _checked_name(raw)
        if _IN_NO_VALUE.search(value) or (name == "te" and value != b"trailers"):
            raise BrokenStreamError(Code.PROTOCOL_ERROR)
        text = value.decode("latin-1")
        headers[name] = f"{headers[name]},{text}" if name in headers else text
    return headers


def _checked_name(raw: bytes) -> str:
    name = raw.decode("latin-1")
    if _NAME.fullmatch(raw) is None or name in _FORBIDDEN:
        raise BrokenStreamError(Code.PROTOCOL_ERROR)
    return name


_common_name: Final = lru_cache(512)(_checked_name)

# SPDX-License-Identifier: Apache-2.0
"""The headers of a call, as gRPC writes them."""

import math
import re
from collections.abc import Mapping
from typing import Final

from fodc_protocol.http2.headers import literal
from fodc_protocol.version import VERSION

_POST: Final = b"\x83"
_HTTP: Final = b"\x86"
_HTTPS: Final = b"\x87"
_USUAL: Final = (
    literal(b"te", b"trailers")
    + literal(b"content-type", b"application/grpc")
    + literal(b"user-agent", f"fodc-agent/{VERSION}".encode())
)
_NEVER_KEPT: Final = "authorization"
_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?|")
_LONGEST_WAIT_MS: Final = 99_999_999


class UnsayableError(Exception):
    """Metadata holds what no header can; the text names it and tells nothing of the value."""


def head_of(
    path: str,
    authority: str,
    metadata: Mapping[str, str],
    *,
    is_tls: bool,
    timeout_s: float | None = None,
) -> bytes:
    """Return the header block of a call; raises UnsayableError."""
    block = _POST + (_HTTPS if is_tls else _HTTP)
    block += literal(b":path", path.encode()) + literal(b":authority", authority.encode())
    if timeout_s is not None:
        block += literal(b"grpc-timeout", b"%dm" % _whole_ms(timeout_s))
    return block + _USUAL + b"".join(map(_field, metadata.items()))


def _whole_ms(timeout_s: float) -> int:
    return min(max(1, math.ceil(timeout_s * 1000)), _LONGEST_WAIT_MS)


def _field(pair: tuple[str, str]) -> bytes:
    name, value = pair
    if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise UnsayableError(f"metadata {name!r} holds what cannot be sent in a header")
    return literal(name.encode(), value.encode(), is_secret=name == _NEVER_KEPT)

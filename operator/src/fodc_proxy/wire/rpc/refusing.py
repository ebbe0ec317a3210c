# SPDX-License-Identifier: Apache-2.0
"""What of a request is gRPC, pure: who is refused before any handler, metadata, and deadline."""

import re
from collections.abc import Mapping
from typing import Final

from fodc_protocol.grpc_status import Status
from fodc_proxy.wire.http2.requests import Request
from fodc_proxy.wire.rpc.status import refusal, refused_by_http

WORDS_FOR_HTTP: Final = b"this port takes gRPC calls only\n"
_CONTENT_TYPE: Final = "application/grpc"
_CONTENT_TYPES: Final = (_CONTENT_TYPE + "+", _CONTENT_TYPE + ";")
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNIT_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_OF_THE_TRANSPORT: Final = frozenset({"content-type", "te", "user-agent", "content-length"})
_NO_METADATA: Final[Mapping[str, str]] = {}


def http_refusal_of(request: Request) -> bytes:
    """Return the headers for a request that is no gRPC at all, b"" for one that is."""
    if request.method != "POST":
        return refused_by_http(b"405", (b"allow", b"POST"))
    content_type = request.headers.get("content-type", "")
    if content_type != _CONTENT_TYPE and not content_type.startswith(_CONTENT_TYPES):
        return refused_by_http(b"415", (b"accept", b"application/grpc"))
    return b""


def refusal_of(request: Request, *, is_known: bool) -> bytes:
    """Return the headers that refuse a call, b"" for one that has a handler to go to."""
    if not is_known:
        return refusal(Status.UNIMPLEMENTED, f"there is no method {request.path[:200]}")
    encoding = request.headers.get("grpc-encoding", "identity")
    if encoding != "identity":
        return refusal(Status.UNIMPLEMENTED, f"grpc-encoding {encoding[:40]} is not taken")
    if timeout_is_wrong(request):
        message = "grpc-timeout must be a number of at most 8 digits and a unit"
        return refusal(Status.INTERNAL, message)
    return b""


def timeout_is_wrong(request: Request) -> bool:
    """Say whether a request tells a deadline that cannot be read."""
    told = request.headers.get("grpc-timeout")
    return told is not None and _TIMEOUT.fullmatch(told) is None


def timeout_s(request: Request) -> float | None:
    """Return after how many seconds the call is late, None without a deadline."""
    told = _TIMEOUT.fullmatch(request.headers.get("grpc-timeout", ""))
    return None if told is None else int(told[1]) * _UNIT_S[told[2]]


def metadata_of(request: Request) -> Mapping[str, str]:
    """Return what the client sent along with the call."""
    metadata = {
        name: value
        for name, value in request.headers.items()
        if name not in _OF_THE_TRANSPORT and not name.startswith("grpc-")
    }
    return metadata or _NO_METADATA

# SPDX-License-Identifier: Apache-2.0
"""Requests as stored JSON, and back."""

from dataclasses import dataclass
from typing import Final

import msgspec

from fodc_api.values import is_request_id
from fodc_proxy.captures.model import Request
from fodc_proxy.storage.documents import RecordError, dump_document, load_document

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class _Document:
    version: int
    request: Request


_READER: Final = msgspec.json.Decoder(_Document)


def dump_request(request: Request) -> bytes:
    """Write a request as UTF-8 JSON; raises RecordError for a text that is no Unicode."""
    return dump_document(_Document(VERSION, request), f"request {request.id}")


def load_request(data: bytes) -> Request:
    """Read what `dump_request` wrote; raises RecordError."""
    request = load_document(data, _READER, VERSION).request
    _check(request)
    return request


def _check(request: Request) -> None:
    """Refuse what fits the types and makes no sense: what would fail later fails here, alone."""
    names = {capture.name: str(capture.profile) for capture in request.spec.captures}
    if not is_request_id(request.id):
        raise RecordError("record cannot be read: its id is none")
    for target in request.targets:
        for result in target.results:
            if names.get(result.capture) != result.profile:
                told = f"{result.capture[:60]!r} of {target.node_id[:60]!r}"
                raise RecordError(f"record cannot be read: nobody asked for capture {told}")

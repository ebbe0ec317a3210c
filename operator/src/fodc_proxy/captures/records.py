# SPDX-License-Identifier: Apache-2.0
"""Requests as stored JSON, and back.

The one idea: reading is strict: a record that does not fit the declared types is refused with the
path of what does not, so nothing odd comes back to life.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from fodc_api.values import is_request_id
from fodc_protocol.errors import FodcError, Reason
from fodc_proxy.captures.model import Request

VERSION: Final = 1


class RecordError(FodcError):
    """A stored record is damaged or of another version."""

    default_reason = Reason.STORAGE_FAILED


@dataclass(frozen=True, slots=True)
class _Document:
    version: int
    request: Request


_READER: Final = msgspec.json.Decoder(_Document)


def dump_request(request: Request) -> bytes:
    """Write a request as UTF-8 JSON; raises RecordError for a text that is no Unicode."""
    try:
        return msgspec.json.encode(_Document(VERSION, request))
    except UnicodeEncodeError as error:
        raise RecordError(f"request {request.id} holds a text that is no Unicode") from error


def load_request(data: bytes) -> Request:
    """Read what `dump_request` wrote; raises RecordError."""
    try:
        document = _READER.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise RecordError(f"record cannot be read: {str(error)[:200]}") from None
    if document.version != VERSION:
        raise RecordError(f"record is of version {document.version}, not {VERSION}")
    _check(document.request)
    return document.request


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

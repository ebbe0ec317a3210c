# SPDX-License-Identifier: Apache-2.0
"""Records as stored JSON with a version, and back.

The one idea: reading is strict: a record that does not fit the declared types is refused with the
path of what does not, so nothing odd comes back to life.
"""

from typing import Protocol, TypeVar

import msgspec

from fodc_protocol.errors import FodcError, Reason


class RecordError(FodcError):
    """A stored record is damaged or of another version."""

    default_reason = Reason.STORAGE_FAILED


class Versioned(Protocol):
    """A document that says of which version it is."""

    @property
    def version(self) -> int:
        """The version of its form."""


D = TypeVar("D", bound=Versioned)


def dump_document(document: Versioned, what: str) -> bytes:
    """Write it as UTF-8 JSON; raises RecordError, which names `what`, for a text that is none."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError as error:
        raise RecordError(f"{what} holds a text that is no Unicode") from error


def load_document(data: bytes, reader: msgspec.json.Decoder[D], version: int) -> D:
    """Read what `dump_document` wrote; raises RecordError."""
    try:
        document = reader.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise RecordError(f"record cannot be read: {str(error)[:200]}") from None
    if document.version != version:
        raise RecordError(f"record is of version {document.version}, not {version}")
    return document

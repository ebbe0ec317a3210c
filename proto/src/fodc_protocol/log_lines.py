# SPDX-License-Identifier: Apache-2.0
"""How every program of ours writes a record of its log: one line, whatever stands in it.

The fields, in this order: `time` (RFC 3339 in UTC, to the millisecond), `level` (debug, info,
warning, error, critical), `logger`, `message`, and `error` with the traceback where there is one.
As text they are key=value pairs, a value in quotes as in JSON unless it is plain; or they are one
JSON object.
"""

import json
import re
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Protocol, TypeAlias

from fodc_protocol.times import format_rfc3339_ms

# Made once: `dumps` with an option makes one for each call.
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False).encode
_IS_PLAIN: Final = re.compile(r"[!#-<>-~]+").fullmatch
"""Printable ASCII without blank, quote and equals sign."""
_BREAKS: Final = {ord(one): f"\\u{ord(one):04x}" for one in "\x7f\x85\u2028\u2029"}
"""What some readers take for the end of a line and JSON leaves as it is."""

ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None] | None
)


class Record(Protocol):
    """What is read of a record of the library `logging`, which this package does not import."""

    created: float
    levelname: str
    name: str
    exc_info: ExcInfo

    def getMessage(self) -> str:  # noqa: N802 - the library's name
        """Return the text with its arguments in it."""


class LogLines:
    """The formatter of a handler; whoever sets up a log lets it be one of the library too."""

    def __init__(self, *, as_json: bool) -> None:
        """Write key=value pairs, or one JSON object for each record."""
        self._as_json = as_json

    def format(self, record: Record) -> str:
        """Return one line; a traceback becomes one field."""
        fields = {
            "time": format_rfc3339_ms(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return log_line(fields, as_json=self._as_json)


def log_line(fields: Mapping[str, str], *, as_json: bool) -> str:
    """Return key=value pairs, or one JSON object."""
    if as_json:
        return _encoded(dict(fields))
    return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(text: str) -> str:
    return text if _IS_PLAIN(text) else _encoded(text)


def _encoded(value: str | dict[str, str]) -> str:
    return _ENCODE(value).translate(_BREAKS)

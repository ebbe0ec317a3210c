# SPDX-License-Identifier: Apache-2.0
"""One crash as the node wrote it down, to a message of the existing contract, pure.

The one idea: the file was written by a process that was about to end, so whatever is missing, of
another kind or too long in it costs that field; only a file that is no object at all is no crash.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from fodc_agent.evidence.cluster import timestamp
from fodc_protocol.protobuf import message, messages, number, text, text_map, texts
from fodc_protocol.redaction import redact_text, redact_value
from fodc_protocol.times import TimeError, parse_rfc3339

STACK_CHARACTERS: Final = 256 * 1024
_TEXT_CHARACTERS: Final = 4096
_MOST_BREADCRUMBS: Final = 64
_MOST_FIELDS: Final = 64


class NoCrashError(ValueError):
    """The file holds no crash, or not yet the whole of it."""


def crash_message(
    content: bytes, *, endpoint: str, name: str, files: Iterable[str], fetched_ns: int
) -> bytes:
    """Return a StreamCrashDiagnosticsRequest; raises NoCrashError for what is no crash."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NoCrashError(f"panic.json is not whole: {str(error)[:200]}") from None
    if not isinstance(told, dict):
        raise NoCrashError("panic.json is no object")
    return (
        message(1, timestamp(fetched_ns))
        + text(2, endpoint)
        + text(3, name)
        + message(4, _panic(told))
        + texts(5, files)
    )


def _panic(told: Mapping[str, object]) -> bytes:
    crumbs = told.get("breadcrumbs")
    listed = crumbs[-_MOST_BREADCRUMBS:] if isinstance(crumbs, list) else []
    return (
        _time(1, told.get("occurredAt"))
        + text(2, _text(told.get("component")))
        + text(3, redact_text(_text(told.get("panicValue"), STACK_CHARACTERS)).value)
        + number(4, told.get("recovered") is True)
        + text(5, redact_text(_text(told.get("goroutineStack"), STACK_CHARACTERS)).value)
        + messages(6, (_crumb(one) for one in listed if isinstance(one, dict)))
        + text_map(7, _texts(told.get("processMetadata")))
    )


def _crumb(told: Mapping[str, object]) -> bytes:
    return (
        _time(1, told.get("time"))
        + text(2, _text(told.get("stage")))
        + text(3, _text(told.get("component")))
        + text_map(4, _texts(told.get("fields")))
    )


def _text(value: object, most: int = _TEXT_CHARACTERS) -> str:
    if not isinstance(value, str):
        return ""
    return value if len(value) <= most else value[: most - 1] + "…"


def _texts(value: object) -> dict[str, str]:
    pairs = list(value.items())[:_MOST_FIELDS] if isinstance(value, dict) else []
    return {_text(name): redact_value(_text(name), _text(one)).value for name, one in pairs}


def _time(field: int, value: object) -> bytes:
    if not isinstance(value, str):
        return b""
    try:
        return message(field, timestamp(parse_rfc3339(value)))
    except TimeError:
        return b""

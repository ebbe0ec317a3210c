# SPDX-License-Identifier: Apache-2.0
"""The form of a line of the audit: JSON, its time first, every word and list bounded; pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from fodc_protocol.times import format_rfc3339_ms

MAX_WORD_LENGTH: Final = 256
MAX_WORDS: Final = 16
Said: TypeAlias = str | int | Sequence[str]


def audit_line(said: Mapping[str, Said], time_ms: int) -> bytes:
    """Return the line with its end; what is too long is cut. Time in Unix milliseconds."""
    bounded = {name: _bounded(value) for name, value in said.items()}
    whole = {"time": format_rfc3339_ms(time_ms), **bounded}
    return json.dumps(whole, ensure_ascii=True).encode() + b"\n"


def _bounded(value: Said) -> str | int | list[str]:
    match value:
        case str():
            return _cut(value)
        case int():
            return value
        case _:
            return _cut_all(value)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_WORD_LENGTH else text[:MAX_WORD_LENGTH] + "…"


def _cut_all(words: Sequence[str]) -> list[str]:
    more = len(words) - MAX_WORDS
    return [*map(_cut, words[:MAX_WORDS]), *([f"and {more} more"] if more > 0 else [])]

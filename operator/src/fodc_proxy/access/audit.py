# SPDX-License-Identifier: Apache-2.0
"""What somebody did, as one line of JSON; pure.

The one idea: a line has names, ids and results, which are bounded here, and never what was sent or
read: there is no field that could hold a secret.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fodc_protocol.times import format_rfc3339_ms
from fodc_proxy.access.callers import Caller

MAX_WORD_LENGTH: Final = 256
MAX_WORDS: Final = 16
About: TypeAlias = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Deed:
    """One change, or one artifact that was read, or the refusal of either; time is Unix time."""

    time_ms: int
    request_id: str
    caller: Caller
    peer: str
    action: str
    status: int
    about: About = field(default_factory=dict)


def line_of(deed: Deed) -> bytes:
    """Return the line with its end; what is too long is cut."""
    said: dict[str, object] = {
        "time": format_rfc3339_ms(deed.time_ms),
        "audit": deed.action,
        "caller": _cut(deed.caller.name),
        "authenticated": str(deed.caller.method),
        "peer": _cut(deed.peer),
        "status": deed.status,
        "request_id": deed.request_id,
    }
    for name, value in deed.about.items():
        said[name] = _cut(value) if isinstance(value, str) else _cut_all(value)
    return json.dumps(said, ensure_ascii=True).encode() + b"\n"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_WORD_LENGTH else text[:MAX_WORD_LENGTH] + "…"


def _cut_all(words: Sequence[str]) -> list[str]:
    more = len(words) - MAX_WORDS
    return [*map(_cut, words[:MAX_WORDS]), *([f"and {more} more"] if more > 0 else [])]

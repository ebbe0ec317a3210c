# SPDX-License-Identifier: Apache-2.0
"""What may stand in an object, and how times stand in it; pure.

The one idea: others say what they like, so every text and number that goes into an object is cut to
what its schema admits; an object of ours is never refused for what somebody said.
"""

import re
from functools import lru_cache
from typing import Final

from fodc_protocol.times import TimeError, format_rfc3339, parse_rfc3339_ms

MOST_INT64: Final = 2**63 - 1
_LAST_MS: Final = 253_402_300_799_000
_LABEL_JUNK: Final = re.compile(r"[^A-Za-z0-9._-]+")
_CONDITION_PARTS: Final = re.compile(r"[A-Za-z0-9]+")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def is_name(text: str) -> bool:
    """Whether an object may be called so (DNS subdomain)."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


def is_namespace(text: str) -> bool:
    """Whether a namespace may be called so (DNS label)."""
    return len(text) <= 63 and _NAMESPACE.fullmatch(text) is not None


def label_value(text: str) -> str:
    """Return the nearest value that a label may have, perhaps empty."""
    return _LABEL_JUNK.sub("-", text)[:63].strip("._-")


def condition_type(text: str) -> str:
    """Return the nearest CamelCase name of a condition, empty when there is none."""
    words = _CONDITION_PARTS.findall(text)
    name = "".join(word[:1].upper() + word[1:] for word in words).lstrip("0123456789")
    return (name[:1].upper() + name[1:])[:64]


def cut(text: str, longest: int) -> str:
    """Return the text, its end replaced by an ellipsis when it is too long."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def count(number: int) -> int:
    """Return a number that fits an int64 that is not negative."""
    return max(0, min(number, MOST_INT64))


def time_of(time_ms: int) -> str | None:
    """Return a date-time to the second, None for what is no time."""
    return format_rfc3339(time_ms // 1000) if 0 < time_ms <= _LAST_MS else None


def time_ms(text: object) -> int:
    """Read a time of the API server in Unix milliseconds; 0 for none."""
    return _text_ms(text) if isinstance(text, str) else 0


@lru_cache(maxsize=16_384)
def _text_ms(text: str) -> int:
    """Read each time once: the pods of a namespace are judged again with every change of one."""
    try:
        return parse_rfc3339_ms(text)
    except TimeError:
        return 0

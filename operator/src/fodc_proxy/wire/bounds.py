# SPDX-License-Identifier: Apache-2.0
"""What a peer may tell: the length, count, range and spelling of every field, pure.

The one idea: a value that names something (a pod, a label, a command) is taken as it is or refused
with the field's name; a text that is only read by people (messages, reasons, warnings) is cleaned
and cut instead, because a long sentence is no reason to lose an agent.
"""

import re
from collections.abc import Sized
from enum import StrEnum
from typing import Final, TypeVar

from fodc_protocol.errors import FodcError, Reason

S = TypeVar("S", bound=Sized)

NAME_CHARACTERS: Final = 253
WORD_CHARACTERS: Final = 128
MESSAGE_CHARACTERS: Final = 1024
LABEL_NAME_CHARACTERS: Final = 317
LABEL_VALUE_CHARACTERS: Final = 253
MOST_LABELS: Final = 64
MOST_LISTED: Final = 64
MOST_COMMANDS: Final = 256
LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999
GREATEST_COUNT: Final = 2**53  # what JSON's readers still tell apart

_DNS_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SHOWN_CHARACTERS: Final = 40


class Bound(StrEnum):
    """Which bound a peer broke; value of label `reason` of fodc_proxy_peer_refused_total."""

    NAME = "BadName"
    TEXT = "BadText"
    LENGTH = "TooLong"
    COUNT = "TooMany"
    RANGE = "OutOfRange"
    SIZE = "TooLarge"
    GARBAGE = "Garbage"
    PROTOCOL = "Protocol"


class WireError(FodcError):
    """What a peer sent is no message of the contract, or breaks a bound of it."""

    default_reason = Reason.PROTOCOL_ERROR

    def __init__(self, message: str, bound: Bound = Bound.GARBAGE) -> None:
        """Keep the message, which names the field, and the bound that was broken."""
        super().__init__(message)
        self.bound = bound


def shown(value: str) -> str:
    """Return a foreign text for an error message: printable and short."""
    cut = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
    return ascii(cut)


def dns_name(field: str, value: str) -> str:
    """Return the name of a pod, namespace, machine or container, or "" as it is.

    Letters, digits, `-`, `_` and `.`, at most 253: DNS names, and the host names that agents
    outside of Kubernetes have. Raises WireError.
    """
    if value and _DNS_NAME.fullmatch(value) is None:
        raise WireError(
            f"{field} must be a DNS name (letters, digits, '-' and '.', at most "
            f"{NAME_CHARACTERS}), got {shown(value)} of {len(value)} characters",
            Bound.NAME,
        )
    return value


def word(field: str, value: str, most: int = WORD_CHARACTERS) -> str:
    """Return a short text without control characters that names something; raises WireError."""
    if len(value) > most:
        message = f"{field} must have at most {most} characters, got {len(value)}: {shown(value)}"
        raise WireError(message, Bound.LENGTH)
    if _UNPRINTABLE.search(value) is not None:
        message = f"{field} must not contain control characters, got {shown(value)}"
        raise WireError(message, Bound.TEXT)
    return value


def said(value: str, most: int = MESSAGE_CHARACTERS) -> str:
    """Return a sentence for people in one line of at most `most` characters."""
    if len(value) > most:
        value = value[: most - 1] + "…"
    return _UNPRINTABLE.sub(" ", value)


def few(field: str, values: S, most: int = MOST_LISTED) -> S:
    """Return a list that is not too long; raises WireError."""
    if len(values) > most:
        message = f"{field} must have at most {most} entries, got {len(values)}"
        raise WireError(message, Bound.COUNT)
    return values


def time_ms(field: str, value: int) -> int:
    """Return a Unix time of the years 1970 to 9999; raises WireError."""
    return number(field, value, LATEST_MS)


def number(field: str, value: int, most: int = GREATEST_COUNT) -> int:
    """Return a number from 0 to `most`; raises WireError."""
    if not 0 <= value <= most:
        raise WireError(f"{field} must be from 0 to {most}, got {value}", Bound.RANGE)
    return value


def small(field: str, size_bytes: int, most_bytes: int) -> None:
    """Accept the size of a message; raises WireError."""
    if size_bytes > most_bytes:
        message = f"{field} must have at most {most_bytes} bytes, got {size_bytes}"
        raise WireError(message, Bound.SIZE)

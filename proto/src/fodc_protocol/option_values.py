# SPDX-License-Identifier: Apache-2.0
"""Kinds of settings: how one option is declared, its text read and its value checked.

The one idea: a reader or check only says what is wrong with one value; who supplied it, and
everything else about precedence, is the matter of `options`.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeAlias

from fodc_protocol.addresses import Address, AddressError, parse_endpoint, parse_listen_address
from fodc_protocol.lean import dataclass
from fodc_protocol.times import TimeError, parse_duration_s

Value: TypeAlias = str | bool | int | float | tuple[str, ...] | Address | None
Check: TypeAlias = Callable[[str, Value], str | None]
"""Takes the option's name and value, returns what is wrong as a whole sentence, or None."""


class Kind(StrEnum):
    """How the text of an option is read; in brackets the type of the value."""

    STRING = "string"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    DURATION = "duration"
    """Go syntax, in seconds (float)."""
    BYTES = "bytes"
    """A size such as 64MiB (int)."""
    LIST = "list"
    """Commas or the flag repeated (tuple of str)."""
    ADDRESS = "address"
    """":9090", "host:port" or "[::1]:9090" (Address); None when empty, which only an empty
    default allows."""
    ENUM = "enum"
    PERCENT = "percent"
    """0 to 100, with or without a percent sign (float)."""


@dataclass(frozen=True, slots=True)
class Option:
    """One declared setting; `default` is a text like one that a person would type."""

    name: str
    kind: Kind
    default: str
    help: str
    metavar: str = ""
    check: Check | None = None
    secret: bool = False
    choices: tuple[str, ...] = ()
    variable: str = ""
    """An environment variable of others, such as the downward API's, that is read as well."""


# ---- checks ---------------------------------------------------------------------------------


def positive(name: str, value: Value) -> str | None:
    """Check that a number or duration is more than 0."""
    fits = isinstance(value, int | float) and value > 0
    return None if fits else f"{name} must be greater than 0"


def not_negative(name: str, value: Value) -> str | None:
    """Check that a number or duration is 0 or more."""
    fits = isinstance(value, int | float) and value >= 0
    return None if fits else f"{name} must not be negative"


def not_empty(name: str, value: Value) -> str | None:
    """Check that a text or list holds something."""
    return None if value else f"{name} cannot be empty"


def between(low: float, high: float) -> Check:
    """Return a check that a number lies in [low, high]."""

    def check(name: str, value: Value) -> str | None:
        if isinstance(value, int | float) and low <= value <= high:
            return None
        return f"{name} must be between {low:g} and {high:g}, got {plain_text(value)}"

    return check


def ports(name: str, value: Value) -> str | None:
    """Check that a list holds port numbers."""
    for text in value if isinstance(value, tuple) else ():
        if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
            return f"{name} must hold ports from 1 to 65535, got {text!r}"
    return None


def endpoints(name: str, value: Value) -> str | None:
    """Check that a list holds addresses to connect to."""
    try:
        for text in value if isinstance(value, tuple) else ():
            parse_endpoint(text)
    except AddressError as error:
        return f"{name} {error}"
    return None


def all_of(*checks: Check) -> Check:
    """Return a check that reports the first complaint of several."""

    def check(name: str, value: Value) -> str | None:
        return next((problem for one in checks if (problem := one(name, value))), None)

    return check


def plain_text(value: Value) -> str:
    """Return a value as a person would write it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


# ---- reading one value ----------------------------------------------------------------------

_TRUE: Final = frozenset({"true", "t", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "f", "0", "no", "off"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_FLOAT: Final = re.compile(
    r"[+-]?([0-9]{1,300}\.?[0-9]{0,300}|\.[0-9]{1,300})([eE][+-]?[0-9]{1,3})?"
)
_SIZE: Final = re.compile(r"([0-9]{1,18})(\.[0-9]{1,9})?\s*([kKMGT]i?)?B?")
_SCALE: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class BadValueError(Exception):
    """A text is not what the kind accepts; the message says what is."""


def _read_text(_option: Option, text: str) -> Value:
    return text


def _read_bool(_option: Option, text: str) -> Value:
    word = text.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise BadValueError("must be true or false")


def _read_int(_option: Option, text: str) -> Value:
    if _INTEGER.fullmatch(text.strip()):
        return int(text)
    raise BadValueError("must be a whole number")


def _read_float(_option: Option, text: str) -> Value:
    if _FLOAT.fullmatch(text.strip()):
        value = float(text)
        if abs(value) != float("inf"):
            return value
    raise BadValueError("must be a number")


def _read_duration(_option: Option, text: str) -> Value:
    try:
        return parse_duration_s(text.strip())
    except TimeError as error:
        raise BadValueError("must be a duration such as 10s, 1m30s or 500ms") from error


def _read_bytes(_option: Option, text: str) -> Value:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise BadValueError("must be a size such as 536870912, 64MiB or 1.5GB")
    unit = found[3] or ""
    scale: int = (1024 if unit.endswith("i") else 1000) ** _SCALE[unit[:1].lower()]
    digits = found[2][1:] if found[2] else ""
    fraction: int = int(digits or "0") * scale // 10 ** len(digits)
    return int(found[1]) * scale + fraction


def _read_list(_option: Option, text: str) -> Value:
    return tuple(item for part in text.split(",") if (item := part.strip()))


def _read_address(option: Option, text: str) -> Value:
    if not text.strip():
        if not option.default:
            return None
        raise BadValueError("cannot be empty")
    try:
        return parse_listen_address(text)
    except AddressError as error:
        raise BadValueError(error.wanted) from error


def _read_enum(option: Option, text: str) -> Value:
    for choice in option.choices:
        if text.strip().lower() == choice.lower():
            return choice
    raise BadValueError(f"must be one of: {', '.join(option.choices)}")


def _read_percent(option: Option, text: str) -> Value:
    try:
        value = _read_float(option, text.strip().removesuffix("%"))
    except BadValueError as error:
        raise BadValueError("must be a percentage from 0 to 100") from error
    if isinstance(value, float) and 0 <= value <= 100:
        return value
    raise BadValueError(f"must be between 0 and 100, got {plain_text(value)}")


_READERS: Final[dict[Kind, Callable[[Option, str], Value]]] = {
    Kind.STRING: _read_text,
    Kind.BOOL: _read_bool,
    Kind.INT: _read_int,
    Kind.FLOAT: _read_float,
    Kind.DURATION: _read_duration,
    Kind.BYTES: _read_bytes,
    Kind.LIST: _read_list,
    Kind.ADDRESS: _read_address,
    Kind.ENUM: _read_enum,
    Kind.PERCENT: _read_percent,
}


def read(option: Option, text: str) -> Value:
    """Return the value that `text` means for `option`; raises BadValueError."""
    return _READERS[option.kind](option, text)

# SPDX-License-Identifier: Apache-2.0
"""Declared settings of our programs: flags, environment, file, defaults; help and start log.

The one idea: an option is declared once; parsing, precedence, error texts, `--help` and the
redacted list for the log all follow from the declaration.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from fodc_protocol.errors import OptionError
from fodc_protocol.redaction import MASK, redact_value
from fodc_protocol.times import TimeError, parse_duration_s


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port; an empty host means all interfaces when listening."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


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
    """":9090" or "host:port" (Address); None when empty, which only an empty default allows."""
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


class Origin(StrEnum):
    """Who supplied a value."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass
class Resolved(dict[str, Value]):
    """Values by option name, where each came from, and typed access."""

    options: dict[str, Option] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return a string or enum."""
        return self._as(name, str)

    def flag(self, name: str) -> bool:
        """Return a bool."""
        return self._as(name, bool)

    def integer(self, name: str) -> int:
        """Return an int or a size in bytes."""
        return self._as(name, int)

    def number(self, name: str) -> float:
        """Return a float, a percentage or a duration in seconds."""
        return self._as(name, float)

    def items_of(self, name: str) -> tuple[str, ...]:
        """Return a list."""
        return self._as(name, tuple)

    def address(self, name: str) -> Address | None:
        """Return an address, None when it is empty."""
        return None if self[name] is None else self._as(name, Address)

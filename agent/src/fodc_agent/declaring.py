# SPDX-License-Identifier: Apache-2.0
"""How an option is declared on a field of the settings: flag, default, meaning, check and reading.

The one idea: what stands beside a field is everything about it; parsing, precedence, error texts,
`--help` and the start log follow from it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, field
from pathlib import Path
from typing import Final, TypeVar

from fodc_protocol.options import Check, Kind, Option, Resolved, Value, positive

_T = TypeVar("_T")
_OPTION: Final = "option"
_READ: Final = "read"

ROLES: Final[Mapping[str, str]] = {
    "": "",
    "role_data": "ROLE_DATA",
    "data": "ROLE_DATA",
    "standalone": "ROLE_DATA",
    "role_liaison": "ROLE_LIAISON",
    "liaison": "ROLE_LIAISON",
    "role_meta": "ROLE_META",
    "meta": "ROLE_META",
    "role_unspecified": "ROLE_UNSPECIFIED",
}
"""What people write for a role; a standalone node reports itself as data (§8.2)."""


def declared(option: Option, read: Callable[[Resolved, str], _T]) -> _T:
    """Declare a field by its option and how its value is read from what was resolved."""
    made: _T = field(metadata={_OPTION: option, _READ: read})
    return made


def options_of(fields: Iterable["Field[object]"]) -> tuple[Option, ...]:
    """Return the options that fields declare, in their order."""
    return tuple(one.metadata[_OPTION] for one in fields if one.metadata)


def values_of(fields: Iterable["Field[object]"], resolved: Resolved) -> dict[str, object]:
    """Return the values of the declared fields by name."""
    found = [one for one in fields if one.metadata]
    return {one.name: one.metadata[_READ](resolved, one.metadata[_OPTION].name) for one in found}


# ---- kinds of fields ------------------------------------------------------------------------


def text(
    name: str,
    default: str,
    about: str,
    *,
    check: Check | None = None,
    metavar: str = "",
    variable: str = "",
) -> str:
    """Declare a text; `variable` is an environment variable of others that is read too."""
    option = Option(name, Kind.STRING, default, about, metavar, check, variable=variable)
    return declared(option, Resolved.text)


def choice(name: str, default: str, about: str, *words: str) -> str:
    """Declare one of some words."""
    return declared(Option(name, Kind.ENUM, default, about, choices=words), Resolved.text)


def seconds(name: str, default: str, about: str, *, check: Check = positive) -> float:
    """Declare a duration above 0."""
    return declared(Option(name, Kind.DURATION, default, about, check=check), Resolved.number)


def size(name: str, default: str, about: str, *, check: Check = positive) -> int:
    """Declare bytes."""
    return declared(Option(name, Kind.BYTES, default, about, check=check), Resolved.integer)


def number(name: str, default: str, about: str, *, check: Check) -> int:
    """Declare an integer."""
    return declared(Option(name, Kind.INT, default, about, check=check), Resolved.integer)


def switch(name: str, about: str) -> bool:
    """Declare what is off unless it is given."""
    return declared(Option(name, Kind.BOOL, "false", about), Resolved.flag)


def names(name: str, about: str) -> tuple[str, ...]:
    """Declare a list of names."""
    return declared(Option(name, Kind.LIST, "", about), Resolved.list_of)


def numbers(name: str, default: str, about: str, *, check: Check) -> tuple[int, ...]:
    """Declare a list of numbers, such as ports."""
    return declared(Option(name, Kind.LIST, default, about, check=check), numbers_in)


def path(name: str, about: str) -> Path | None:
    """Declare a path that may be absent."""
    return declared(Option(name, Kind.STRING, "", about, "FILE"), _path)


def _path(resolved: Resolved, name: str) -> Path | None:
    told = resolved.text(name)
    return Path(told) if told else None


def numbers_in(resolved: Resolved, name: str) -> tuple[int, ...]:
    """Return a list of numbers."""
    return tuple(map(int, resolved.list_of(name)))


# ---- checks that only the agent has ---------------------------------------------------------


def a_role(name: str, value: Value) -> str | None:
    """Check that a text is how people write a role."""
    if isinstance(value, str) and value.lower() in ROLES:
        return None
    return (
        f"{name} must be one of data, liaison, meta, standalone, ROLE_DATA, ROLE_LIAISON, "
        f"ROLE_META, got {value!r}"
    )


def one_of(*words: str) -> Check:
    """Return a check that a text is one of these or empty, which means "find it out"."""

    def check(name: str, value: Value) -> str | None:
        if value in {"", *words}:
            return None
        return f"{name} must be one of {', '.join(words)} or empty, got {value!r}"

    return check


def each_of(*words: str) -> Check:
    """Return a check that every text of a list is one of these."""

    def check(name: str, value: Value) -> str | None:
        for told in value if isinstance(value, tuple) else ():
            if told not in words:
                return f"{name} takes {', '.join(words)}, got {told!r}"
        return None

    return check


def pairs(name: str, value: Value) -> str | None:
    """Check that each of a list is name=value."""
    for told in value if isinstance(value, tuple) else ():
        label, separator, _ = told.partition("=")
        if not (separator and label.strip()):
            return f"{name} must be name=value, several separated by commas, got {told!r}"
    return None

# SPDX-License-Identifier: Apache-2.0
"""Reads a JSON object from outside field by field.

The one idea: whoever reads knows the path of each field, so that every error names the field and
what it accepts, and a field that nobody asked for is an error too.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from fodc_protocol.errors import FieldError, shown

__all__ = ["FieldError", "Fields", "shown"]

EnumT = TypeVar("EnumT", bound=StrEnum)


class Fields:
    """One JSON object at a path; all methods raise FieldError."""

    def __init__(self, data: object, path: str = "") -> None:
        if not isinstance(data, Mapping):
            raise FieldError(path or "body", f"must be an object, got {shown(data)}")
        self._data: Mapping[str, object] = data
        self._path = path

    def path(self, name: str) -> str:
        """Path of a field of this object."""
        return f"{self._path}.{name}" if self._path else name

    def allow(self, *names: str) -> "Fields":
        """Refuse every field that is not named here; returns itself."""
        for name in self._data:
            if name not in names:
                accepted = ", ".join(names)
                raise FieldError(
                    self.path(shown(name).strip("'\"")), f"is unknown; has: {accepted}"
                )
        return self

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._data.get(name) is not None

    def child(self, name: str) -> "Fields":
        """An object inside this one; an absent one is empty."""
        value = self._data.get(name)
        return Fields({} if value is None else value, self.path(name))

    def items(self, name: str, *, low: int, high: int) -> "list[Fields]":
        """A list of `low` to `high` objects."""
        return [
            Fields(value, f"{self.path(name)}[{at}]")
            for at, value in enumerate(self._list(name, low=low, high=high))
        ]

    def texts(self, name: str, *, high: int, max_length: int) -> tuple[str, ...]:
        """A list of distinct texts that are not empty."""
        values = self._list(name, low=0, high=high)
        for at, value in enumerate(values):
            if not isinstance(value, str) or not 0 < len(value) <= max_length:
                problem = f"must be a text of 1 to {max_length} characters, got {shown(value)}"
                raise FieldError(f"{self.path(name)}[{at}]", problem)
        return tuple(dict.fromkeys(str(value) for value in values))

    def text(self, name: str, *, max_length: int, default: str | None = None) -> str:
        """A text; required when there is no default."""
        value = self._data.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or len(value) > max_length:
            problem = f"must be a text of at most {max_length} characters, got {shown(value)}"
            raise FieldError(self.path(name), problem)
        return value

    def text_or_integer(self, name: str, *, max_length: int, default: str | None = None) -> str:
        """A text, or a whole number as the text that means the same."""
        value = self._data.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.text(name, max_length=max_length, default=default)

    def choice(self, name: str, kind: type[EnumT], default: EnumT) -> EnumT:
        """One of the words of an enumeration."""
        value = self._data.get(name)
        if value is None:
            return default
        if isinstance(value, str) and value in list(kind):
            return kind(value)
        accepted = ", ".join(kind)
        raise FieldError(self.path(name), f"must be one of {accepted}, got {shown(value)}")

    def flag(self, name: str) -> bool:
        """True or false; false when absent."""
        value = self._data.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise FieldError(self.path(name), f"must be true or false, got {shown(value)}")

    def integer(self, name: str, *, low: int, high: int, default: int) -> int:
        """A whole number within limits."""
        value = self._data.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            problem = f"must be a whole number from {low} to {high}, got {shown(value)}"
            raise FieldError(self.path(name), problem)
        return value

    def number(self, name: str) -> float | None:
        """A number, None when absent."""
        value = self._data.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FieldError(self.path(name), f"must be a number, got {shown(value)}")
        return value

    def _list(self, name: str, *, low: int, high: int) -> list[object]:
        value = self._data.get(name)
        if value is None:
            value = []
        if not isinstance(value, list) or not low <= len(value) <= high:
            got = f"{len(value)} items" if isinstance(value, list) else shown(value)
            problem = f"must be a list of {low} to {high} items, got {got}"
            raise FieldError(self.path(name), problem)
        return value

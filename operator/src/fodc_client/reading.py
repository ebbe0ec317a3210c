# SPDX-License-Identifier: Apache-2.0
"""Reading foreign JSON: strict about what we use, blind to what we do not know.

The one idea: a field that we need and that has another type than agreed is an error with its path
(`nodes[3].node_id`), while unknown fields are never looked at, so that a newer proxy still works.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

from fodc_client.errors import BadAnswerError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
T = TypeVar("T")


class Fields:
    """One JSON object and its path in the answer."""

    __slots__ = ("_path", "_values")

    def __init__(self, value: Json, path: str) -> None:
        if not isinstance(value, dict):
            raise _unexpected(path, "an object", value)
        self._values = value
        self._path = path

    def text(self, name: str) -> str:
        """Return a text that must be there."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise _unexpected(self._at(name), "a text", value)
        return value

    def text_or(self, name: str, default: str = "") -> str:
        """Return a text, or `default` when it is absent or null."""
        return default if self._values.get(name) is None else self.text(name)

    def number_or_none(self, name: str) -> float | None:
        """Return a number, or None when it is absent or null."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _unexpected(self._at(name), "a number", value)
        return float(value)

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a number, or `default` when it is absent or null."""
        value = self.number_or_none(name)
        return default if value is None else value

    def integer(self, name: str, default: int = 0) -> int:
        """Return a whole number, or `default` when it is absent or null."""
        value = self.number_or_none(name)
        if value is None:
            return default
        if value != int(value):
            raise _unexpected(self._at(name), "a whole number", self._values[name])
        return int(value)

    def flag(self, name: str) -> bool:
        """Return a truth value; absent and null are False."""
        value = self._values.get(name, False)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise _unexpected(self._at(name), "true or false", value)
        return value

    def time(self, name: str) -> datetime | None:
        """Return an RFC 3339 time with its zone, None when it is absent, null or empty."""
        text = self.text_or(name)
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise _unexpected(self._at(name), "a time (RFC 3339)", text) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def child(self, name: str) -> "Fields":
        """Return an object inside this one; an absent or null one reads as empty."""
        value = self._values.get(name)
        return Fields({} if value is None else value, self._at(name))

    def child_or_none(self, name: str) -> "Fields | None":
        """Return an object inside this one, None when it is absent or null."""
        return None if self._values.get(name) is None else self.child(name)

    def items(self, name: str, parse: "Callable[[Fields], T]") -> tuple[T, ...]:
        """Parse each object of a list; an absent or null list is empty."""
        path = self._at(name)
        return tuple(
            parse(Fields(item, f"{path}[{place}]")) for place, item in enumerate(self._list(name))
        )

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; an absent or null list is empty."""
        found = self._list(name)
        for place, item in enumerate(found):
            if not isinstance(item, str):
                raise _unexpected(f"{self._at(name)}[{place}]", "a text", item)
        return tuple(str(item) for item in found)

    def text_map(self, name: str) -> Mapping[str, str]:
        """Return an object of texts; values of another type are shown as they read."""
        inner = self.child(name)._values  # noqa: SLF001 - of our own class
        return {key: str(value) for key, value in inner.items()}

    def integer_map(self, name: str) -> Mapping[str, int]:
        """Return an object of whole numbers."""
        inner = self.child(name)
        return {key: inner.integer(key) for key in inner._values}  # noqa: SLF001 - of our class

    def _list(self, name: str) -> list[Json]:
        value = self._values.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise _unexpected(self._at(name), "a list", value)
        return value

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def _unexpected(path: str, wanted: str, value: Json) -> BadAnswerError:
    shown = "nothing" if value is None else repr(value)[:60]
    return BadAnswerError(f"{path or 'the answer'}: expected {wanted}, got {shown}")

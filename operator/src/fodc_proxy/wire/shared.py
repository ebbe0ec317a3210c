# SPDX-License-Identifier: Apache-2.0
"""Equal values of many agents, kept once.

The one idea: names, capabilities and container lists are the same for thousands of agents, so the
first of equal values is handed to all.  What is kept is bounded in bytes and begins anew when it
is full, so that agents which never say the same twice cost a bounded table and no more.
"""

from collections.abc import Hashable, Iterable
from dataclasses import fields, is_dataclass
from typing import Final, TypeVar

T = TypeVar("T", bound=Hashable)

MOST_BYTES: Final = 8 * 1024 * 1024
_LARGEST_BYTES: Final = 64 * 1024
_OVERHEAD_BYTES: Final = 64


class Shared:
    """A table of values by themselves."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._known: dict[Hashable, Hashable] = {}

    @property
    def kept_bytes(self) -> int:
        """About how many bytes the table holds."""
        return self._bytes

    def of(self, value: T) -> T:
        """Return an equal value that others use too; large ones are not kept."""
        known = self._known.get(value)
        if known is not None:
            return known  # type: ignore[return-value]  # equal, and of one type
        size_bytes = _weight(value)
        if size_bytes > _LARGEST_BYTES:
            return value
        if self._bytes + size_bytes > self._most_bytes:
            self._known.clear()
            self._bytes = 0
        self._known[value] = value
        self._bytes += size_bytes
        return value


def _weight(value: object) -> int:
    """Return about how many bytes a value of texts takes."""
    if isinstance(value, str):
        return _OVERHEAD_BYTES + 4 * len(value)
    if isinstance(value, tuple):
        return _OVERHEAD_BYTES + sum(map(_weight, value))
    if is_dataclass(value):
        parts = (getattr(value, field.name) for field in fields(value))
        return _OVERHEAD_BYTES + sum(map(_weight, parts))
    return _OVERHEAD_BYTES


_shared: Final = Shared()
shared: Final = _shared.of


def shared_labels(labels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return labels whose texts are shared."""
    return {shared(key): shared(value) for key, value in labels}

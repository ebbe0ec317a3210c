# SPDX-License-Identifier: Apache-2.0
"""Objects of one kind in memory, for whoever must not ask a server.

The one idea: what comes by list, by watch or by a framework's handler goes through the same door,
and an object never becomes older than it was, whichever of them was faster. What is missing in a
list is gone, unless it was made after that list.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

Object: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str]
MOST_BURIED: Final = 1024
_log = logging.getLogger(__name__)


class ChangeType(StrEnum):
    """What happened to an object."""

    ADDED = "Added"
    MODIFIED = "Modified"
    DELETED = "Deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """One object that came, changed or went; for one that went, as it was last."""

    type: ChangeType
    object: Object

    @property
    def namespace(self) -> str:
        """Namespace of the object, empty for a kind without."""
        return key_of(self.object)[0]

    @property
    def name(self) -> str:
        """Name of the object."""
        return key_of(self.object)[1]


Listener: TypeAlias = Callable[[Change], None]
Keep: TypeAlias = Callable[[Object], Object]


def without_managed_fields(one: Object) -> Object:
    """Return what is worth keeping of an object: not who wrote which field, often half of it."""
    metadata = {k: v for k, v in one["metadata"].items() if k != "managedFields"}
    return {**one, "metadata": metadata}


class Store:
    """Read at any time; do not change what it gives, and do not await while iterating."""

    def __init__(self, keep: Keep = without_managed_fields) -> None:
        self._keep = keep
        self._objects: dict[str, dict[str, Object]] = {}
        self._buried: OrderedDict[Key, int] = OrderedDict()
        self._listeners: list[Listener] = []

    # ---- reading ------------------------------------------------------------------------------

    def items(self) -> Iterator[Object]:
        """Iterate over all objects."""
        for objects in self._objects.values():
            yield from objects.values()

    def of_namespace(self, namespace: str) -> Sequence[Object]:
        """Return the objects of a namespace, ordered by name."""
        found = self._objects.get(namespace, {})
        return [found[name] for name in sorted(found)]

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object, None when there is none; kinds without namespaces have ""."""
        return self._objects.get(namespace, {}).get(name)

    def __len__(self) -> int:
        return sum(len(objects) for objects in self._objects.values())

    def on_change(self, listener: Listener) -> None:
        """Tell this listener of each change from now on, after the store has it; a quick one."""
        self._listeners.append(listener)

    # ---- what comes ---------------------------------------------------------------------------

    def put(self, body: Object) -> None:
        """Take in an object as it is; one that is older than what is known changes nothing."""
        namespace, name = key = key_of(body)
        version = version_of(body)
        before = self.get(*key)
        known = self._buried.get(key, 0) if before is None else version_of(before)
        if version and version <= known:
            return
        self._buried.pop(key, None)
        self._objects.setdefault(namespace, {})[name] = one = self._keep(body)
        self._tell(ChangeType.ADDED if before is None else ChangeType.MODIFIED, one)

    def remove(self, body: Object) -> None:
        """Take in that an object is gone; `body` is its last state."""
        key, version = key_of(body), version_of(body)
        before = self.get(*key)
        if before is not None and version < version_of(before):
            return  # it was made anew since
        self._bury(key, version)
        if before is not None:
            self._take_away(key)

    def replace(self, bodies: Iterable[Object], version: str, scope: str | None = None) -> None:
        """Take in all that there is, as listed at a version; of one namespace with `scope`."""
        listed = {key_of(one): one for one in bodies}
        as_of = _number(version)
        for one in list(self.items()):
            key, newer = key_of(one), as_of and version_of(one) > as_of
            if key not in listed and not newer and scope in {None, key[0]}:
                self._take_away(key)
        for body in listed.values():
            self.put(body)

    # ---- inside -------------------------------------------------------------------------------

    def _take_away(self, key: Key) -> None:
        objects = self._objects[key[0]]
        one = objects.pop(key[1])
        if not objects:
            del self._objects[key[0]]
        self._tell(ChangeType.DELETED, one)

    def _bury(self, key: Key, version: int) -> None:
        """Remember that it is gone: a list from before may still be on its way."""
        self._buried[key] = version
        self._buried.move_to_end(key)
        if len(self._buried) > MOST_BURIED:
            self._buried.popitem(last=False)

    def _tell(self, type: ChangeType, one: Object) -> None:  # noqa: A002 - the field's name
        for listener in self._listeners:
            try:
                listener(Change(type, one))
            except Exception:  # noqa: BLE001 - logged; the store must stay true
                _log.exception("a listener failed on %s of %s", type, key_of(one))


def key_of(one: Mapping[str, Any]) -> Key:
    """Return namespace and name; raises KeyError or TypeError for what is no object."""
    metadata = one["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])


def version_of(one: Mapping[str, Any]) -> int:
    """Return the version as a number that grows, 0 where it is none."""
    return _number(one["metadata"].get("resourceVersion"))


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isdecimal() else 0

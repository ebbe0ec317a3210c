# SPDX-License-Identifier: Apache-2.0
"""Objects of one kind in memory, kept by list and watch, for whoever must not ask a server.

The one idea: a list replaces the whole store, so that nothing that was deleted unseen survives;
the watch then changes it object by object, and whatever goes wrong ends in another list.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from fodc_kube.client import Cluster, Object, Watched
from fodc_kube.errors import ClusterError, ExpiredError
from fodc_kube.kinds import Kind
from fodc_kube.retrying import Backoff

WATCH_S: Final = 60
"""A connection that has died in silence is noticed after so long, and a little."""
_LONG_S: Final = 1.0
"""A watch that ended sooner has not served: the next one waits a moment."""
_BACKOFF: Final = Backoff(first_s=0.2, longest_s=10.0)
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
        return str(self.object["metadata"].get("namespace", ""))

    @property
    def name(self) -> str:
        """Name of the object."""
        return str(self.object["metadata"]["name"])


Listener: TypeAlias = Callable[[Change], None]
Keep: TypeAlias = Callable[[Object], Object]


def without_managed_fields(one: Object) -> Object:
    """Return what is worth keeping of an object: not who wrote which field, often half of it."""
    metadata = {k: v for k, v in one["metadata"].items() if k != "managedFields"}
    return {**one, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of the kind are of interest; no namespaces means all of them."""

    namespaces: tuple[str, ...] = ()
    labels: str = ""
    fields: str = ""

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """Namespaces that are watched one by one; None is all in one."""
        return self.namespaces or (None,)


EVERYTHING: Final = Selection()


class Informer:
    """`run` in a task; read at any time. Belongs to one event loop."""

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        selection: Selection = EVERYTHING,
        *,
        keep: Keep = without_managed_fields,
        backoff: Backoff = _BACKOFF,
        watch_s: int = WATCH_S,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.kind = kind
        self.fault = ""
        """Why the store may be old, in words; empty while a watch runs."""
        self._cluster = cluster
        self._selection = selection
        self._keep = keep
        self._backoff = backoff
        self._watch_s = watch_s
        self._chance = chance
        self._listeners: list[Listener] = []
        self._waiting = set(selection.scopes)
        self._faults: dict[str | None, str] = {}
        self._synced = asyncio.Event()
        self._store: dict[str, dict[str, Object]] = {}

    # ---- reading ------------------------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """Whether everything has been listed once; from then on it stays so."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return when everything has been listed once."""
        await self._synced.wait()

    def items(self) -> Iterator[Object]:
        """Iterate over all objects; do not change them, and do not await meanwhile."""
        for objects in self._store.values():
            yield from objects.values()

    def of_namespace(self, namespace: str) -> Sequence[Object]:
        """Return the objects of a namespace, ordered by name."""
        found = self._store.get(namespace, {})
        return [found[name] for name in sorted(found)]

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object, None when there is none; kinds without namespaces have ""."""
        return self._store.get(namespace, {}).get(name)

    def __len__(self) -> int:
        return sum(len(objects) for objects in self._store.values())

    def on_change(self, listener: Listener) -> None:
        """Tell this listener of each change from now on, after the store has it; a quick one."""
        self._listeners.append(listener)

    # ---- keeping ------------------------------------------------------------------------------

    async def run(self) -> None:
        """List and watch until cancelled; no failure ends it."""
        async with asyncio.TaskGroup() as group:
            for scope in self._selection.scopes:
                name = f"informer-{self.kind.plural}-{scope or 'all'}"
                group.create_task(self._follow(scope), name=name)

    async def _follow(self, scope: str | None) -> None:
        failures, version = 0, ""
        while True:
            began = asyncio.get_running_loop().time()
            try:
                version = version or await self._list(scope)
                async for event in self._events(scope, version):
                    version = event.resource_version or version
                    self._take(event)
                self._heard(scope)
            except ExpiredError:
                version = ""
            except ClusterError as error:
                # A broken connection goes on where it was; a refusal may be about the version.
                version = "" if error.status else version
                self._failed(scope, error.message)
            except Exception as error:  # noqa: BLE001 - nothing ends unseen
                # Whatever the server sent or a hook of ours made of it: nothing ends unseen.
                _log.exception("%s: what came could not be taken in", self.kind.plural)
                version = ""
                self._failed(scope, f"{type(error).__name__}: {error}")
            # Who is sent away again and again waits ever longer.
            lasted_s = asyncio.get_running_loop().time() - began
            failures = 0 if lasted_s >= _LONG_S else failures + 1
            if failures:
                await asyncio.sleep(self._backoff.wait_s(failures - 1, None, self._chance))

    async def _list(self, scope: str | None) -> str:
        chosen = self._selection
        listed = await self._cluster.list(
            self.kind, scope, label_selector=chosen.labels, field_selector=chosen.fields
        )
        self._replace(scope, [self._keep(one) for one in listed.items])
        self._heard(scope)
        self._waiting.discard(scope)
        if not self._waiting:
            self._synced.set()
        return listed.resource_version

    async def _events(self, scope: str | None, version: str) -> AsyncIterator[Watched]:
        chosen, lasts_s = self._selection, round(self._watch_s * (1 + self._chance() / 2))
        async with self._cluster.watch(
            self.kind,
            scope,
            version,
            label_selector=chosen.labels,
            field_selector=chosen.fields,
            lasts_s=lasts_s,
        ) as events:
            self._heard(scope)
            async for event in events:
                yield event

    # ---- the store ----------------------------------------------------------------------------

    def _take(self, event: Watched) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                self._set(self._keep(event.object))
            case "DELETED":
                self._remove(self._keep(event.object))
            case _:
                return

    def _replace(self, scope: str | None, listed: Sequence[Object]) -> None:
        present = {_key(one) for one in listed}
        gone = [one for one in self.items() if _key(one) not in present and _within(one, scope)]
        for one in gone:
            self._remove(one)
        for one in listed:
            self._set(one)

    def _set(self, one: Object) -> None:
        namespace, name = _key(one)
        objects = self._store.setdefault(namespace, {})
        before = objects.get(name)
        if before is not None and _version(before) == _version(one):
            return
        objects[name] = one
        self._tell(ChangeType.ADDED if before is None else ChangeType.MODIFIED, one)

    def _remove(self, one: Object) -> None:
        namespace, name = _key(one)
        objects = self._store.get(namespace, {})
        if objects.pop(name, None) is not None:
            self._tell(ChangeType.DELETED, one)
        if not objects:
            self._store.pop(namespace, None)

    def _tell(self, type: ChangeType, one: Object) -> None:  # noqa: A002 - the field's name
        for listener in self._listeners:
            try:
                listener(Change(type, one))
            except Exception:  # noqa: BLE001 - logged; the store must stay true
                _log.exception("a listener failed on %s of %s", type, _key(one))

    def _heard(self, scope: str | None) -> None:
        if self._faults.pop(scope, None) is not None:
            _log.info("%s are watched again", self.kind.plural)
        self.fault = "; ".join(self._faults.values())

    def _failed(self, scope: str | None, why: str) -> None:
        if scope not in self._faults:
            _log.warning("%s are not watched: %s", self.kind.plural, why)
        self._faults[scope] = why
        self.fault = "; ".join(self._faults.values())


def _key(one: Object) -> tuple[str, str]:
    metadata = one["metadata"]
    return str(metadata.get("namespace", "")), str(metadata["name"])


def _version(one: Object) -> str:
    return str(one["metadata"].get("resourceVersion", ""))


def _within(one: Object, scope: str | None) -> bool:
    return scope is None or _key(one)[0] == scope

# SPDX-License-Identifier: Apache-2.0
"""Findings in the store: written once, read back after a start.

The one idea: a finding is an artifact, so the store's rules hold for it: committed whole, verified
when read, ended by retention, and there after the node and the proxy have gone.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from fodc_api.findings import Crash, PressureEvent
from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError, Reason
from fodc_proxy import doors
from fodc_proxy.evidence.findings import (
    CRASH,
    PRESSURE,
    Kept,
    KeptCrash,
    KeptPressure,
    Origin,
    artifact_id,
    profile_artifact_id,
    profile_manifest,
    record_id,
    record_manifest,
)
from fodc_proxy.evidence.incidents.facts import LOG
from fodc_proxy.evidence.incidents.model import Held, Node
from fodc_proxy.storage.artifacts import ArtifactStore, Stored
from fodc_proxy.storage.errors import StorageError
from fodc_proxy.storage.partials import Partials
from fodc_proxy.storage.whole import read_back, stored_whole

# What of a record is read back: more than one is let in with.
_RECORD_BYTES: Final = 8 * 1024 * 1024
_log = logging.getLogger(__name__)


class Receiving:
    """The bytes of one profile as they come in; raises FodcError for what was not announced."""

    def __init__(self, partials: Partials, kept: KeptPressure, type_: str, size_bytes: int) -> None:
        self.kept, self.type = kept, type_
        self.id = profile_artifact_id(kept, type_)
        self._partials = partials
        self._announced_bytes = size_bytes
        self._digest = doors.sha256()
        self._bytes = 0

    async def append(self, data: bytes) -> None:
        """Take a piece; raises FodcError for more than was announced."""
        if self._bytes + len(data) > self._announced_bytes:
            raise self._wrong(f"more than the {self._announced_bytes} bytes that were announced")
        if data:
            await self._partials.append(self.id, self._bytes, data)
            self._digest.update(data)
            self._bytes += len(data)

    async def commit(self, store: ArtifactStore) -> None:
        """Keep the whole; raises FodcError for less than was announced."""
        if self._bytes != self._announced_bytes:
            raise self._wrong(f"{self._bytes} of {self._announced_bytes} announced bytes came")
        sha256 = self._digest.hexdigest()
        path = await self._partials.verify(self.id, self._bytes, sha256)
        await store.commit(profile_manifest(self.kept, self.type, self._bytes, sha256), path)
        await self._partials.discard(self.id)

    async def drop(self) -> None:
        """Let go of what has come."""
        try:
            await self._partials.discard(self.id)
        except StorageError as error:
            _log.warning("%s: %s", self.id, error.message)

    @staticmethod
    def _wrong(message: str) -> FodcError:
        return FodcError(message, reason=Reason.TRUNCATED)


async def _nobody(_kept: Kept) -> None:
    return


class LogKeeper:
    """What containers wrote before they ended, as artifacts."""

    def __init__(
        self, store: ArtifactStore, partials: Partials, clock_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._partials = partials
        self._clock_ms = clock_ms

    async def keep(self, node: Node, pod_uid: str, restarts: int, text: str) -> Held:
        """Store the end of a log, once for each restart of a pod; raises StorageError."""
        content, now_ms = text.encode("utf-8", "replace"), self._clock_ms()
        id_ = artifact_id(LOG, node.address, f"{pod_uid}/{restarts}")
        if self._store.find(id_) is None:
            manifest = Manifest(
                artifact_id=id_,
                request_id=LOG,
                command_id=id_,
                node=node.address,
                pod=node.pod_name,
                role=node.role,
                profile=LOG,
                format="text",
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                samples=None,
                started_at_ms=now_ms,
                finished_at_ms=now_ms,
                duration_ms=0,
                empty=not content,
                namespace=node.namespace,
            )
            await stored_whole(self._store, self._partials, manifest, content)
        return Held(id_, LOG)


class Keeper:
    """The findings of all nodes in the store; nothing is written before the store is open."""

    def __init__(
        self, store: ArtifactStore, partials: Partials, is_open: Callable[[], bool]
    ) -> None:
        self.store = store
        self.on_kept: Callable[[Kept], Awaitable[None]] = _nobody
        """Who is told of each record once it is stored."""
        self._partials = partials
        self._is_open = is_open

    @property
    def is_open(self) -> bool:
        """Whether the store can be read and written."""
        return self._is_open()

    def has(self, kept: Kept) -> bool:
        """Say whether the record is stored."""
        return self.store.find(record_id(kept)) is not None

    def profile(self, kept: KeptPressure, type_: str) -> Stored | None:
        """Return a whole profile of an event."""
        stored = self.store.find(profile_artifact_id(kept, type_))
        return None if stored is None or stored.damage else stored

    def receive(self, kept: KeptPressure, type_: str, size_bytes: int) -> Receiving:
        """Begin to take the bytes of a profile in."""
        return Receiving(self._partials, kept, type_, size_bytes)

    async def keep(self, kept: Kept) -> None:
        """Store a record; raises StorageError."""
        content = msgspec.json.encode(_record(kept))
        await stored_whole(self.store, self._partials, record_manifest(kept, content), content)
        await self.on_kept(kept)

    async def load(self) -> list[Kept]:
        """Read all records back; one that cannot be read hides no other."""
        kinds = {CRASH, PRESSURE}
        oldest_first = reversed(self.store.select())
        chosen = (one for one in oldest_first if one.manifest.profile in kinds)
        return await read_back(self.store, chosen, _read, what="record", most_bytes=_RECORD_BYTES)


def _record(kept: Kept) -> Crash | PressureEvent:
    return kept.crash if isinstance(kept, KeptCrash) else kept.event


def _read(told: Manifest, content: bytes) -> Kept:
    if told.profile == CRASH:
        crash = msgspec.json.decode(content, type=Crash)
        agent_id = crash.agent_id
        origin = Origin(told.namespace, told.pod, told.role, agent_id, told.agent_version)
        return KeptCrash(origin, crash)
    event = msgspec.json.decode(content, type=PressureEvent)
    origin = Origin(told.namespace, told.pod, told.role, event.agent_id, told.agent_version)
    return KeptPressure(origin, event, is_live=False)

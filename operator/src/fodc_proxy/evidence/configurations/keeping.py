# SPDX-License-Identifier: Apache-2.0
"""Snapshots of configurations in the store: written on every change, read back after a start.

The one idea: a snapshot is an artifact of profile `config`, the same document that the capture
gives, so it is listed, fetched, verified and ended by retention like any other.
"""

import hashlib
import logging
from typing import Final, Protocol

import msgspec

from fodc_protocol.artifacts import Manifest
from fodc_protocol.configuration import ConfigEntry, Source
from fodc_protocol.errors import FodcError
from fodc_protocol.profiles import Profile, ProfileFormat
from fodc_protocol.times import TimeError, format_rfc3339_ms, parse_rfc3339_ms
from fodc_proxy.evidence.configurations.history import Snapshot
from fodc_proxy.fleet.naming import address_of
from fodc_proxy.storage.artifacts import ArtifactStore, Stored
from fodc_proxy.storage.errors import StorageError
from fodc_proxy.storage.partials import Partials

REQUEST_ID: Final = "configuration-history"
"""Stands where other artifacts name their request."""
_MOST_BYTES: Final = 4 * 1024 * 1024
_log = logging.getLogger(__name__)


class _Entry(msgspec.Struct, frozen=True):
    name: str
    value: str
    source: str
    redacted: bool = False


class _Condition(msgspec.Struct, frozen=True):
    message: str
    type: str = ""
    reason: str = ""


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 1
    hash: str
    collected_at: str
    entries: tuple[_Entry, ...]
    conditions: tuple[_Condition, ...] = ()
    tier: str = ""


class SnapshotStore(Protocol):
    """Where snapshots outlive the proxy."""

    async def keep(self, snapshot: Snapshot) -> None:
        """Store one; raises FodcError."""

    async def drop(self, snapshot: Snapshot) -> None:
        """Remove one; raises FodcError."""

    async def load(self) -> list[Snapshot]:
        """Read all back; one that cannot be read hides no other."""


class StoredSnapshots:
    """Snapshots as artifacts."""

    def __init__(self, store: ArtifactStore, partials: Partials) -> None:
        self._store = store
        self._partials = partials

    def has(self, snapshot: Snapshot) -> bool:
        """Say whether it is stored."""
        return self._store.find(id_of(snapshot)) is not None

    async def keep(self, snapshot: Snapshot) -> None:
        """Store one; raises StorageError."""
        id_, content = id_of(snapshot), document_of(snapshot)
        if self._store.find(id_) is not None:
            return
        await self._partials.append(id_, 0, content)
        await self._store.commit(manifest_of(snapshot, content), self._partials.path(id_))
        await self._partials.discard(id_)

    async def drop(self, snapshot: Snapshot) -> None:
        """Remove one; raises StorageError."""
        await self._store.delete(id_of(snapshot))

    async def load(self) -> list[Snapshot]:
        """Read all back; one that cannot be read hides no other."""
        found: list[Snapshot] = []
        for stored in self._store.select():
            if stored.manifest.request_id == REQUEST_ID and not stored.damage:
                try:
                    found.append(snapshot_of(stored.manifest, await self._content(stored)))
                except (FodcError, msgspec.MsgspecError, ValueError) as error:
                    _log.warning("%s cannot be read: %s", stored.key, error)
        return found

    async def _content(self, stored: Stored) -> bytes:
        size_bytes = stored.manifest.size_bytes
        if size_bytes > _MOST_BYTES:
            raise StorageError(f"a configuration of {size_bytes} bytes is none of ours")
        return b"".join([block async for block in self._store.stream(stored, 0, size_bytes)])


# ---- pure -------------------------------------------------


def id_of(snapshot: Snapshot) -> str:
    """Return the id of its artifact: by node, time and content."""
    told = f"{snapshot.address}\0{snapshot.since_ms}\0{snapshot.hash}".encode("utf-8", "replace")
    return f"{Profile.CONFIG}-{hashlib.sha256(told).hexdigest()[:24]}"


def document_of(snapshot: Snapshot) -> bytes:
    """Return the JSON of a snapshot, as the capture `config` writes it."""
    document = _Document(
        hash=snapshot.hash,
        collected_at=format_rfc3339_ms(snapshot.since_ms),
        entries=tuple(_Entry(e.name, e.value, e.source, e.redacted) for e in snapshot.entries),
        conditions=tuple(_Condition(text) for text in snapshot.gaps),
        tier=snapshot.tier,
    )
    return msgspec.json.encode(document)


def manifest_of(snapshot: Snapshot, content: bytes) -> Manifest:
    """Return the manifest of a snapshot whose JSON this is."""
    namespace, _, pod = snapshot.address.rpartition("/")
    return Manifest(
        artifact_id=id_of(snapshot),
        request_id=REQUEST_ID,
        command_id=id_of(snapshot),
        node=snapshot.address,
        pod=pod,
        role=snapshot.role,
        profile=Profile.CONFIG,
        format=ProfileFormat.CONFIGURATION,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        samples=None,
        started_at_ms=snapshot.since_ms,
        finished_at_ms=snapshot.since_ms,
        duration_ms=0,
        namespace=namespace,
    )


def snapshot_of(manifest: Manifest, content: bytes) -> Snapshot:
    """Read a snapshot back; raises msgspec.MsgspecError, ValueError and TimeError."""
    document = msgspec.json.decode(content, type=_Document)
    try:
        since_ms = parse_rfc3339_ms(document.collected_at)
    except TimeError as error:
        raise ValueError(f"collected_at: {error.message}") from error
    return Snapshot(
        address_of(manifest.namespace, manifest.pod),
        manifest.role,
        document.tier,
        document.hash,
        since_ms,
        tuple(ConfigEntry(e.name, e.value, Source(e.source), e.redacted) for e in document.entries),
        tuple(one.message for one in document.conditions),
    )

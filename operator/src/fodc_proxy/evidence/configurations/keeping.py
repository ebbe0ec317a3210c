# SPDX-License-Identifier: Apache-2.0
"""Snapshots of configurations in the store: written on every change, read back after a start.

The one idea: a snapshot is an artifact of profile `config`, the same document that the capture
gives, so it is listed, fetched, verified and ended by retention like any other.
"""

import hashlib
from typing import Final, Protocol

import msgspec

from fodc_protocol.artifacts import Manifest
from fodc_protocol.configuration import ConfigEntry, Source
from fodc_protocol.profiles import Profile, ProfileFormat
from fodc_protocol.times import TimeError, format_rfc3339_ms, parse_rfc3339_ms
from fodc_proxy.evidence.configurations.history import Snapshot
from fodc_proxy.fleet.naming import address_of
from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.partials import Partials
from fodc_proxy.storage.whole import read_back, stored_whole

REQUEST_ID: Final = "configuration-history"
"""Stands where other artifacts name their request."""
_MOST_BYTES: Final = 4 * 1024 * 1024


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
        if not self.has(snapshot):
            content = document_of(snapshot)
            manifest = manifest_of(snapshot, content)
            await stored_whole(self._store, self._partials, manifest, content)

    async def drop(self, snapshot: Snapshot) -> None:
        """Remove one; raises StorageError."""
        await self._store.delete(id_of(snapshot))

    async def load(self) -> list[Snapshot]:
        """Read all back; one that cannot be read hides no other."""
        chosen = self._store.select(request_id=REQUEST_ID)
        return await read_back(
            self._store, chosen, snapshot_of, what="configuration", most_bytes=_MOST_BYTES
        )


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

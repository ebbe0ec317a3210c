# SPDX-License-Identifier: Apache-2.0
"""Artifacts among the objects: committed whole, listed from memory, ended by retention.

The one idea: the manifest is written last and removed first, and only what has a manifest exists;
so a crash between any two steps leaves nothing but leftovers, which the next start sweeps.  What
has a manifest is never given up silently: bytes that are short or altered make it damaged.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError, Reason
from fodc_proxy import doors
from fodc_proxy.fleet.naming import address_of
from fodc_proxy.storage import names
from fodc_proxy.storage.errors import MissingError, StorageError
from fodc_proxy.storage.objects import Objects
from fodc_proxy.storage.records import Unreadable
from fodc_proxy.storage.retention import Kept, Retention, surplus

VERSION: Final = 1
_READERS: Final = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """An artifact that exists; `damage` says what is wrong with its bytes, if anything is."""

    manifest: Manifest
    key: str
    stored_at_ms: int
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a start found: artifacts taken over, those damaged among them, leftovers removed."""

    artifacts: int
    damaged: int
    leftovers: int


class ArtifactStore:
    """All artifacts of this proxy; one writer per store."""

    def __init__(
        self,
        objects: Objects,
        *,
        retention: Retention | None = None,
        max_bytes: int | None = None,
        clock_ms: Callable[[], int],
    ) -> None:
        self._objects = objects
        self._retention = retention or Retention()
        self._max_bytes = self._retention.bytes_within(None) if max_bytes is None else max_bytes
        self._clock_ms = clock_ms
        self._stored: dict[str, Stored] = {}
        self._unverified: list[str] = []
        self._spared: Callable[[], Collection[str]] = tuple
        self.unreadable: tuple[Unreadable, ...] = ()

    def spare(self, spared: Callable[[], Collection[str]]) -> None:
        """Ask `spared` from now on which artifacts retention leaves alone."""
        self._spared = spared

    # ---- start ----------------------------------------------------------------------------

    async def open(self) -> Swept:
        """Learn what is stored and remove what an interrupted commit or removal left.

        Raises StorageError when the store cannot be read; failing to remove is only logged.
        """
        keys = await self._objects.keys(names.ARTIFACTS)
        manifests = [key for key in keys if key.endswith(names.MANIFEST_SUFFIX)]
        read = await self._read_all(manifests)
        self.unreadable = tuple(one for one in read if isinstance(one, Unreadable))
        found = [
            replace(one, damage=_length_damage(one, keys.get(one.key)))
            for one in read
            if isinstance(one, Stored)
        ]
        self._stored = {one.manifest.artifact_id: one for one in found}
        self._unverified = list(self._stored)
        for one in found:
            if one.damage:
                _log.error("artifact %s is damaged: %s", one.manifest.artifact_id, one.damage)
        # Beside a manifest that cannot be read its bytes stay, for people to look into.
        kept = {*manifests, *(key.removesuffix(names.MANIFEST_SUFFIX) for key in manifests)}
        leftovers = [key for key in keys if key not in kept]
        for key in leftovers:
            _log.warning("%s has no manifest: it was never acknowledged, and goes", key)
            await self._remove_quietly(key)
        return Swept(len(found), sum(bool(one.damage) for one in found), len(leftovers))

    async def _read_all(self, keys: list[str]) -> list[Stored | Unreadable]:
        gate = asyncio.Semaphore(_READERS)

        async def read(key: str) -> Stored | Unreadable:
            async with gate:
                return _parsed(key, await self._objects.get(key))

        return await asyncio.gather(*(read(key) for key in keys))

    async def _remove_quietly(self, key: str) -> None:
        try:
            await self._objects.delete(key)
        except StorageError as error:
            _log.warning("a leftover stays: %s", error.message)

    # ---- reading ----------------------------------------------------------------------------

    def select(
        self, *, node_id: str = "", request_id: str = "", profile: str = ""
    ) -> tuple[Stored, ...]:
        """Artifacts that fit all given filters, the newest first."""
        fitting = [
            stored
            for stored in self._stored.values()
            if (not node_id or node_id in _names_of(stored.manifest))
            and (not request_id or request_id == stored.manifest.request_id)
            and (not profile or profile == stored.manifest.profile)
        ]
        return tuple(sorted(fitting, key=lambda stored: stored.stored_at_ms, reverse=True))

    def find(self, artifact_id: str) -> Stored | None:
        """The artifact of this id."""
        return self._stored.get(artifact_id)

    def by_command(self) -> dict[str, Manifest]:
        """Manifests of whole artifacts by the command that gave them."""
        whole = (stored.manifest for stored in self._stored.values() if not stored.damage)
        return {manifest.command_id: manifest for manifest in whole}

    @property
    def total_bytes(self) -> int:
        """Bytes of all artifacts."""
        return sum(stored.manifest.size_bytes for stored in self._stored.values())

    @property
    def max_bytes(self) -> int:
        """How many bytes are kept."""
        return self._max_bytes

    @property
    def is_over(self) -> bool:
        """Whether there is more than is kept, in bytes or in number."""
        count = self._retention.max_count
        return self.total_bytes > self._max_bytes or len(self._stored) > count

    @property
    def damaged(self) -> int:
        """How many artifacts are damaged."""
        return sum(bool(stored.damage) for stored in self._stored.values())

    def __len__(self) -> int:
        return len(self._stored)

    async def stream(self, stored: Stored, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield bytes `start` up to, not including, `end`; raises StorageError, MissingError.

        Who reads the whole gets the last block only when all of it is what the manifest says.
        """
        digest, size, held = doors.sha256(), 0, b""
        is_whole = (start, end) == (0, stored.manifest.size_bytes)
        try:
            async for block in self._objects.stream(stored.key, start, end):
                if held:
                    yield held
                digest.update(block)
                size, held = size + len(block), block
        except MissingError:
            self._note_damage(stored, "its bytes are gone")
            raise
        damage = ""
        if size != end - start:
            damage = f"{start + size} of {stored.manifest.size_bytes} bytes are there"
        elif is_whole and digest.hexdigest() != stored.manifest.sha256:
            damage = "its bytes are not those that were stored: their SHA-256 differs"
        if damage:
            self._note_damage(stored, damage)
            message = f"artifact {stored.manifest.artifact_id} is damaged: {damage}"
            raise StorageError(message, reason=Reason.CHECKSUM_MISMATCH)
        if held:
            yield held

    def _note_damage(self, stored: Stored, damage: str) -> None:
        known = self._stored.get(stored.manifest.artifact_id)
        if known is not None and known.key == stored.key and not known.damage:
            _log.error("artifact %s is damaged: %s", stored.manifest.artifact_id, damage)
            self._stored[stored.manifest.artifact_id] = replace(known, damage=damage)

    async def verify_next(self) -> bool:
        """Read one artifact that was not read since the start; False when there is none left."""
        if not self._unverified:
            return False
        stored = self._stored.get(self._unverified.pop())
        if stored is not None and not stored.damage:
            try:
                async for _ in self.stream(stored, 0, stored.manifest.size_bytes):
                    pass
            except FodcError as error:
                _log.debug("%s: %s", stored.key, error.message)
        return True

    # ---- writing ----------------------------------------------------------------------------

    async def commit(self, manifest: Manifest, content: Path) -> Manifest:
        """Store a verified file, durably; a second commit of the same content changes nothing.

        Raises StorageError; nothing is listed or readable then.
        """
        known = self._stored.get(manifest.artifact_id)
        if known is not None and known.manifest.sha256 == manifest.sha256 and not known.damage:
            return known.manifest
        if known is not None:
            await self.delete(manifest.artifact_id)
        stored = Stored(manifest, names.data_key(manifest), self._clock_ms())
        try:
            await self._objects.put(stored.key, content)
            await self._objects.put(names.manifest_key(stored.key), _dumped(stored))
        except StorageError:
            await self._remove_quietly(names.manifest_key(stored.key))
            await self._remove_quietly(stored.key)
            raise
        self._stored[manifest.artifact_id] = stored
        return manifest

    async def delete(self, artifact_id: str) -> None:
        """Remove an artifact; raises MissingError, StorageError."""
        stored = self._stored.get(artifact_id)
        if stored is None:
            raise MissingError(f"artifact {artifact_id} does not exist")
        await self._objects.delete(names.manifest_key(stored.key))
        self._stored.pop(artifact_id, None)
        await self._objects.delete(stored.key)

    async def retain(self, running_requests: Collection[str]) -> tuple[str, ...]:
        """Remove the oldest artifacts beyond age, bytes or count; says which went.

        Artifacts of running requests stay, and those that are spared, whatever the limits.
        """
        kept = [
            Kept(one.manifest.artifact_id, one.manifest.request_id, one.stored_at_ms, size)
            for one in self._stored.values()
            for size in (one.manifest.size_bytes,)
        ]
        due = surplus(
            kept,
            self._retention,
            max_bytes=self._max_bytes,
            now_ms=self._clock_ms(),
            spared_requests=running_requests,
            spared=self._spared(),
        )
        return tuple([one for one in due if await self._ended(one)])

    async def _ended(self, artifact_id: str) -> bool:
        try:
            await self.delete(artifact_id)
        except MissingError:
            return False
        except StorageError as error:
            _log.warning("retention of %s failed: %s", artifact_id, error.message)
            return False
        return True


def _length_damage(stored: Stored, size: int | None) -> str:
    if size == stored.manifest.size_bytes:
        return ""
    if size is None:
        return "its bytes are gone"
    return f"{size} of {stored.manifest.size_bytes} bytes are there"


def _dumped(stored: Stored) -> bytes:
    document = {
        "version": VERSION,
        "stored_at_ms": stored.stored_at_ms,
        "manifest": stored.manifest.to_dict(),
    }
    return json.dumps(document, indent=1).encode()


def _parsed(key: str, data: bytes) -> Stored | Unreadable:
    """Read a manifest; the key that it was found under says where its bytes are."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("version") != VERSION:
            return _unreadable(key, f"it is no manifest of version {VERSION}")
        told_ms = document["stored_at_ms"]
        if type(told_ms) is not int:
            return _unreadable(key, "field 'stored_at_ms' is no whole number")
        if not isinstance(document["manifest"], dict):
            return _unreadable(key, "field 'manifest' is no object")
        manifest = Manifest.from_dict(document["manifest"])
        json.dumps(document, ensure_ascii=False).encode()  # texts that nobody could be sent
    except (ValueError, LookupError, TypeError, RecursionError, FodcError) as error:
        return _unreadable(key, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return Stored(manifest, key.removesuffix(names.MANIFEST_SUFFIX), told_ms)


def _unreadable(key: str, message: str) -> Unreadable:
    _log.error("%s cannot be read and is left alone: %s", key, message)
    return Unreadable(key, message)


def _names_of(manifest: Manifest) -> set[str]:
    return {manifest.node, manifest.pod, address_of(manifest.namespace, manifest.pod)}

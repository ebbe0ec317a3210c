# SPDX-License-Identifier: Apache-2.0
"""Artifacts in an object store: committed whole, listed from memory, ended by retention.

The one idea: the manifest is written last and removed first, and only what has a manifest exists;
so a crash between any two steps leaves nothing but leftovers, which the next start sweeps.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError
from fodc_proxy.artifacts import links
from fodc_proxy.artifacts.errors import MissingError, StorageError
from fodc_proxy.artifacts.objects import Objects
from fodc_proxy.fleet.naming import address_of

VERSION = 1
_READERS = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """An artifact that exists."""

    manifest: Manifest
    key: str
    stored_at_ms: int


@dataclass(frozen=True, slots=True)
class Retention:
    """How long artifacts live; whatever is exceeded first ends the oldest ones."""

    max_age_ms: int = 7 * 24 * 3600 * 1000
    max_bytes: int = 10 * 1024**3
    max_count: int = 10_000


@dataclass(frozen=True, slots=True)
class Swept:
    """What a start found: artifacts taken over, leftovers removed, manifests that are damaged."""

    artifacts: int
    leftovers: int
    damaged: tuple[str, ...]


class ArtifactStore:
    """All artifacts of this proxy; one writer per store."""

    def __init__(
        self,
        objects: Objects,
        *,
        retention: Retention | None = None,
        clock_ms: Callable[[], int],
    ) -> None:
        self._objects = objects
        self._retention = retention or Retention()
        self._clock_ms = clock_ms
        self._stored: dict[str, Stored] = {}

    # ---- start ----------------------------------------------------------------------------

    async def open(self) -> Swept:
        """Learn what is stored and remove what an interrupted commit or removal left.

        Raises StorageError when the store cannot be read; failing to remove is only logged.
        """
        keys = await self._objects.keys(links.ARTIFACTS)
        incoming = await self._objects.keys(links.INCOMING)
        manifests = [key for key in keys if key.endswith(links.MANIFEST_SUFFIX)]
        read = await self._read_all(manifests)
        damaged = tuple(key for key, stored in read.items() if stored is None)
        found = [stored for stored in read.values() if stored is not None]
        whole = [s for s in found if keys.get(s.key) == s.manifest.size_bytes]
        self._stored = {stored.manifest.artifact_id: stored for stored in whole}
        known = {key for stored in whole for key in (stored.key, links.manifest_key(stored.key))}
        # A damaged manifest may be looked into by people; its bytes stay beside it.
        kept = known | set(damaged) | {key.removesuffix(links.MANIFEST_SUFFIX) for key in damaged}
        leftovers = [*incoming, *(key for key in keys if key not in kept)]
        for key in leftovers:
            await self._remove_quietly(key)
        return Swept(len(whole), len(leftovers), damaged)

    async def _read_all(self, keys: list[str]) -> dict[str, Stored | None]:
        readers = asyncio.Semaphore(_READERS)

        async def read(key: str) -> Stored | None:
            async with readers:
                return _parsed(key, await self._objects.get(key))

        found = await asyncio.gather(*(read(key) for key in keys))
        return dict(zip(keys, found, strict=True))

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
        """Manifests by the command that gave them."""
        return {stored.manifest.command_id: stored.manifest for stored in self._stored.values()}

    @property
    def total_bytes(self) -> int:
        """Bytes of all artifacts."""
        return sum(stored.manifest.size_bytes for stored in self._stored.values())

    def __len__(self) -> int:
        return len(self._stored)

    def stream(self, stored: Stored, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield bytes `start` up to, not including, `end`; raises StorageError, MissingError."""
        return self._objects.stream(stored.key, start, end)

    # ---- writing ----------------------------------------------------------------------------

    async def commit(self, manifest: Manifest, content: Path) -> Manifest:
        """Store a verified file; a second commit of the same content changes nothing.

        Raises StorageError; nothing is listed or readable then.
        """
        known = self._stored.get(manifest.artifact_id)
        if known is not None and known.manifest.sha256 == manifest.sha256:
            return known.manifest
        if known is not None:
            await self.delete(manifest.artifact_id)
        stored = Stored(manifest, links.data_key(manifest), self._clock_ms())
        incoming = links.incoming_key(manifest.artifact_id)
        await self._objects.put(incoming, content)
        await self._objects.move(incoming, stored.key)
        await self._objects.put(links.manifest_key(stored.key), _dumped(stored))
        self._stored[manifest.artifact_id] = stored
        return manifest

    async def delete(self, artifact_id: str) -> None:
        """Remove an artifact; raises MissingError, StorageError."""
        stored = self._stored.get(artifact_id)
        if stored is None:
            raise MissingError(f"artifact {artifact_id} does not exist")
        await self._objects.delete(links.manifest_key(stored.key))
        self._stored.pop(artifact_id, None)
        await self._objects.delete(stored.key)

    async def retain(self, running_requests: Collection[str]) -> tuple[str, ...]:
        """Remove the oldest artifacts beyond age, bytes or count; says which went.

        Artifacts of running requests stay, whatever the limits.
        """
        gone: list[str] = []
        for artifact_id in self._surplus(running_requests):
            try:
                await self.delete(artifact_id)
            except MissingError:
                continue
            except StorageError as error:
                _log.warning("retention of %s failed: %s", artifact_id, error.message)
                continue
            gone.append(artifact_id)
        return tuple(gone)

    def _surplus(self, running_requests: Collection[str]) -> tuple[str, ...]:
        oldest_first = sorted(self._stored.values(), key=lambda stored: stored.stored_at_ms)
        count, size = len(oldest_first), self.total_bytes
        oldest_ms = self._clock_ms() - self._retention.max_age_ms
        surplus: list[str] = []
        for stored in oldest_first:
            within = count <= self._retention.max_count and size <= self._retention.max_bytes
            if within and stored.stored_at_ms >= oldest_ms:
                break
            if stored.manifest.request_id in running_requests:
                continue
            surplus.append(stored.manifest.artifact_id)
            count, size = count - 1, size - stored.manifest.size_bytes
        return tuple(surplus)


def _dumped(stored: Stored) -> bytes:
    document = {
        "version": VERSION,
        "key": stored.key,
        "stored_at_ms": stored.stored_at_ms,
        "manifest": stored.manifest.to_dict(),
    }
    return json.dumps(document, indent=1).encode()


def _parsed(key: str, data: bytes) -> Stored | None:
    """Read a manifest; None, and a line in the log, for one that cannot be read."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("version") != VERSION:
            _log.warning("%s is no manifest of version %s and is left alone", key, VERSION)
            return None
        stored_at_ms = document["stored_at_ms"]
        stored = Stored(Manifest.from_dict(document["manifest"]), document["key"], stored_at_ms)
    except (ValueError, KeyError, TypeError, FodcError) as error:
        _log.warning("%s cannot be read and is left alone: %s", key, error)
        return None
    # The key that the object was found under decides, whatever the document says.
    return replace(stored, key=key.removesuffix(links.MANIFEST_SUFFIX))


def _names_of(manifest: Manifest) -> set[str]:
    return {manifest.node, manifest.pod, address_of(manifest.namespace, manifest.pod)}

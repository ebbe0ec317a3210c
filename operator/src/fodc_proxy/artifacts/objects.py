# SPDX-License-Identifier: Apache-2.0
"""The object store as we use it: few operations, each with a deadline and errors in words.

The one idea: everything above speaks to this small protocol, so tests can fail any operation and
any store of obstore (local folder, S3, GCS, Azure, memory) serves alike.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import obstore
from obstore.store import LocalStore, ObjectStore

from fodc_proxy.artifacts.errors import told_as_storage_error

LIST_CHUNK = 500
STREAM_CHUNK_BYTES = 256 * 1024


class Objects(Protocol):
    """Named byte strings; every method raises StorageError, reading ones also MissingError."""

    async def put(self, key: str, content: bytes | Path) -> None:
        """Store an object whole or not at all."""

    async def get(self, key: str) -> bytes:
        """Return a small object."""

    async def move(self, source: str, target: str) -> None:
        """Rename an object; an older one at the target is replaced."""

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""

    async def keys(self, prefix: str) -> dict[str, int]:
        """Return the keys below a prefix with their sizes in bytes."""

    def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`."""


class ObstoreObjects:
    """Objects in any store that obstore knows."""

    def __init__(self, store: ObjectStore, *, timeout_s: float = 60.0) -> None:
        self._store = store
        self._timeout_s = timeout_s

    async def put(self, key: str, content: bytes | Path) -> None:
        """Store an object whole or not at all."""
        with told_as_storage_error(f"writing {key}"):
            async with asyncio.timeout(self._timeout_s):
                await obstore.put_async(self._store, key, content)

    async def get(self, key: str) -> bytes:
        """Return a small object."""
        with told_as_storage_error(f"reading {key}"):
            async with asyncio.timeout(self._timeout_s):
                result = await obstore.get_async(self._store, key)
                return bytes(await result.bytes_async())

    async def move(self, source: str, target: str) -> None:
        """Rename an object; an older one at the target is replaced."""
        with told_as_storage_error(f"renaming {source} to {target}"):
            async with asyncio.timeout(self._timeout_s):
                await obstore.rename_async(self._store, source, target)

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""
        with told_as_storage_error(f"removing {key}"):
            async with asyncio.timeout(self._timeout_s):
                try:
                    await obstore.delete_async(self._store, key)
                except FileNotFoundError:
                    return

    async def keys(self, prefix: str) -> dict[str, int]:
        """Return the keys below a prefix with their sizes in bytes."""
        found: dict[str, int] = {}
        with told_as_storage_error(f"listing {prefix}"):
            async with asyncio.timeout(self._timeout_s):
                async for batch in obstore.list(self._store, prefix, chunk_size=LIST_CHUNK):
                    found |= {item["path"]: item["size"] for item in batch}
        return found

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`."""
        if start >= end:
            return
        with told_as_storage_error(f"reading {key}"):
            async with asyncio.timeout(self._timeout_s):
                options: obstore.GetOptions = {"range": (start, end)}
                result = await obstore.get_async(self._store, key, options=options)
            blocks = aiter(result.stream(min_chunk_size=STREAM_CHUNK_BYTES))
            while True:
                async with asyncio.timeout(self._timeout_s):
                    block = await anext(blocks, None)
                if block is None:
                    return
                yield bytes(block)


def local_objects(folder: Path, *, timeout_s: float = 60.0) -> ObstoreObjects:
    """Objects in a local folder, which is created; what an interrupted write left is removed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The store writes beside the target under `<name>#<number>` and renames.
    for staged in folder.rglob("*#[0-9]*"):
        staged.unlink(missing_ok=True)
    return ObstoreObjects(LocalStore(folder), timeout_s=timeout_s)

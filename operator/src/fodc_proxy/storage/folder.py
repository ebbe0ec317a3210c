# SPDX-License-Identifier: Apache-2.0
"""Objects as files of a folder that keep what was acknowledged through a power cut.

The one idea: a write goes to a file of its own that is synced, gets its name by renaming, and then
the folder is synced; only after that it is acknowledged.  One thread writes, so what is written
happens in one order; readers have threads of their own, so a slow disk keeps no writer waiting.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from fodc_proxy.storage.errors import HeldError, told_as_storage_error
from fodc_proxy.storage.files import Files, RealFiles
from fodc_proxy.storage.lock import FolderLock
from fodc_proxy.storage.objects import STREAM_CHUNK_BYTES

STAGED: Final = "staged"
_READERS: Final = 4
_COPY_BYTES: Final = 1 << 20
_LOCK_PAUSE_S: Final = 0.2
_CLOSE_S: Final = 2.0
T = TypeVar("T")


class FolderObjects:
    """Objects below `root`, which is created; implements `objects.Objects`."""

    def __init__(
        self,
        root: Path,
        *,
        files: Files | None = None,
        timeout_s: float = 60.0,
        handover_s: float = 15.0,
    ) -> None:
        """Let file access take `timeout_s`, and an elected writer wait `handover_s` for the old."""
        self._root = root
        self._files = files or RealFiles()
        self._timeout_s = timeout_s
        self._handover_s = handover_s
        self._lock = FolderLock(root)
        self._numbers = itertools.count(1)
        self._closed = False
        self._writer = ThreadPoolExecutor(1, "store writer")
        self._readers = ThreadPoolExecutor(_READERS, "store reader")

    @property
    def place(self) -> str:
        """Where the objects are, for people."""
        return str(self._root)

    async def _in(self, pool: ThreadPoolExecutor, what: str, work: Callable[[], T]) -> T:
        with told_as_storage_error(what):
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(pool, work)

    # ---- one writer -----------------------------------------------------------------------------

    async def open(self, *, elected: bool = False) -> None:
        """Lock the folder, and drop what interrupted writes have left."""
        until_s = time.monotonic() + (self._handover_s if elected else 0)
        while True:
            try:
                await self._in(self._writer, f"folder {self._root}", self._open)
            except HeldError:
                if time.monotonic() >= until_s:
                    raise
            else:
                return
            await asyncio.sleep(_LOCK_PAUSE_S)

    def _open(self) -> None:
        self._make(self._root)
        self._lock.take(int(time.time()))
        staged = self._root / STAGED
        self._make(staged)
        for name in self._files.sizes(staged):
            self._files.remove(staged / name)

    async def close(self) -> None:
        """Let another one write; what is being written meanwhile is ended first."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.get_running_loop().run_in_executor(self._writer, self._lock.release)
        self._writer.shutdown(wait=False, cancel_futures=True)
        self._readers.shutdown(wait=False, cancel_futures=True)

    # ---- writing --------------------------------------------------------------------------------

    async def put(self, key: str, content: bytes | Path) -> None:
        """Store or replace an object; durable when this returns."""
        await self._in(self._writer, f"writing {key}", lambda: self._put(key, content))

    def _put(self, key: str, content: bytes | Path) -> None:
        target, staged = self._root / key, self._root / STAGED / str(next(self._numbers))
        self._make(target.parent)
        try:
            self._files.write(staged, self._blocks(content))
            self._files.rename(staged, target)
            self._files.sync_folder(target.parent)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.remove(staged)
            raise

    def _blocks(self, content: bytes | Path) -> Iterator[bytes]:
        if isinstance(content, bytes):
            yield content
            return
        at = 0
        while block := self._files.read(content, at, _COPY_BYTES):
            yield block
            at += len(block)

    def _make(self, folder: Path) -> None:
        """Create a folder and those above it, each kept by the one that it is in."""
        missing = [folder]
        while True:
            try:
                made = self._files.make_folder(missing[-1])
            except FileNotFoundError:
                missing.append(missing[-1].parent)
                continue
            if made:
                self._files.sync_folder(missing[-1].parent)
            missing.pop()
            if not missing:
                return

    async def delete(self, key: str) -> None:
        """Remove an object for good; one that is not there is fine."""
        await self._in(self._writer, f"removing {key}", lambda: self._delete(key))

    def _delete(self, key: str) -> None:
        path = self._root / key
        try:
            self._files.remove(path)
            self._files.sync_folder(path.parent)
        except FileNotFoundError:
            return
        for folder in itertools.takewhile(lambda one: one != self._root, path.parents):
            try:
                self._files.remove_folder(folder)
            except OSError:
                return  # something else is in it

    # ---- reading --------------------------------------------------------------------------------

    async def get(self, key: str) -> bytes:
        """Return a small object."""
        path = self._root / key

        def read() -> bytes:
            return self._files.read(path, 0, self._files.size(path))

        return await self._in(self._readers, f"reading {key}", read)

    async def keys(self, prefix: str) -> dict[str, int]:
        """Return the keys below a prefix with their sizes in bytes."""

        def listed() -> dict[str, int]:
            found = self._files.sizes(self._root / prefix)
            return {f"{prefix}/{name}": size for name, size in found.items()}

        return await self._in(self._readers, f"listing {prefix}", listed)

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`."""
        path, at = self._root / key, start
        while at < end:
            length = min(end - at, STREAM_CHUNK_BYTES)
            read = partial(self._files.read, path, at, length)
            block = await self._in(self._readers, f"reading {key}", read)
            if not block:
                return
            yield block
            at += len(block)

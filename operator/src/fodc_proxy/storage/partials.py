# SPDX-License-Identifier: Apache-2.0
"""Bytes of artifacts that are still arriving: one local file per command.

The one idea: a file only ever grows at its end, so its length is the offset at which to resume;
whether the content is right is found out once, by checksum, when it is whole.  Nothing here is
synced: until an artifact is stored, its agent has it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from fodc_protocol import ids
from fodc_protocol.errors import Reason
from fodc_proxy import doors
from fodc_proxy.storage.errors import HeldError, StorageError, told_as_storage_error
from fodc_proxy.storage.files import Files, RealFiles
from fodc_proxy.storage.lock import FolderLock

_SUFFIX: Final = ".part"
_READ_BYTES: Final = 1 << 20
_LOCK_PAUSE_S: Final = 0.2
T = TypeVar("T")


class Partials:
    """The folder of partial files. All methods do their I/O in a thread and raise StorageError."""

    def __init__(
        self,
        folder: Path,
        *,
        files: Files | None = None,
        timeout_s: float = 60.0,
        handover_s: float = 15.0,
    ) -> None:
        self._folder = folder
        self._files = files or RealFiles()
        self._timeout_s = timeout_s
        self._handover_s = handover_s
        self._lock = FolderLock(folder)
        self._pool = ThreadPoolExecutor(4, "partial bytes")

    def path(self, command_id: str) -> Path:
        """Where the bytes of this command are."""
        return self._folder / (ids.safe_name(command_id) + _SUFFIX)

    async def _run(self, what: str, work: Callable[[], T]) -> T:
        with told_as_storage_error(what):
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    # ---- life -----------------------------------------------------------------------------------

    async def open(self, *, elected: bool = False) -> None:
        """Create and lock the folder; raises HeldError for one that another proxy uses.

        `elected`: the one who has it is about to end, and is waited for.
        """
        until_s = time.monotonic() + (self._handover_s if elected else 0)
        while True:
            try:
                await self._run(f"folder {self._folder}", self._open)
            except HeldError:
                if time.monotonic() >= until_s:
                    raise
            else:
                return
            await asyncio.sleep(_LOCK_PAUSE_S)

    def _open(self) -> None:
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files.make_folder(self._folder)
        self._lock.take(int(time.time()))

    async def close(self) -> None:
        """Let another one use the folder."""
        self._lock.release()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # ---- bytes ----------------------------------------------------------------------------------

    async def sizes(self) -> dict[str, int]:
        """Bytes that are there, by command."""
        found = await self._run("partial artifacts", lambda: self._files.sizes(self._folder))
        return {
            name.removesuffix(_SUFFIX): size_bytes
            for name, size_bytes in found.items()
            if name.endswith(_SUFFIX)
        }

    def _size(self, path: Path) -> int:
        try:
            return self._files.size(path)
        except FileNotFoundError:
            return 0

    async def append(self, command_id: str, offset: int, data: bytes) -> None:
        """Add bytes that belong at `offset`; what an earlier failure wrote beyond it is cut."""
        path = self.path(command_id)
        await self._run("partial artifact", lambda: self._files.append(path, offset, data))

    async def discard(self, command_id: str) -> None:
        """Drop the bytes of this command."""
        path = self.path(command_id)
        await self._run("partial artifact", lambda: self._files.remove(path))

    async def sweep(self, wanted: Iterable[str]) -> int:
        """Drop all files but those of the wanted commands; says how many were dropped."""
        keep = {self.path(command_id).name for command_id in wanted}
        return await self._run("partial artifacts", lambda: self._sweep(keep))

    def _sweep(self, keep: set[str]) -> int:
        found = [name for name in self._files.sizes(self._folder) if name.endswith(_SUFFIX)]
        dropped = [name for name in found if name not in keep]
        for name in dropped:
            self._files.remove(self._folder / name)
        return len(dropped)

    async def verify(self, command_id: str, size_bytes: int, sha256: str) -> Path:
        """Return the path of a whole and unchanged file.

        Raises StorageError with reason ChecksumMismatch when size or SHA-256 differ.
        """
        path = self.path(command_id)
        size, digest = await self._run("partial artifact", lambda: self._digest(path))
        if (size, digest) == (size_bytes, sha256):
            return path
        message = f"{size} bytes with SHA-256 {digest} arrived, announced were {size_bytes} bytes"
        raise StorageError(f"{message} with {sha256:.64}", reason=Reason.CHECKSUM_MISMATCH)

    def _digest(self, path: Path) -> tuple[int, str]:
        digest, size = doors.sha256(), 0
        if self._size(path) == 0:
            self._files.append(path, 0, b"")  # an artifact without bytes never had a chunk
        while block := self._files.read(path, size, _READ_BYTES):
            digest.update(block)
            size += len(block)
        return size, digest.hexdigest()

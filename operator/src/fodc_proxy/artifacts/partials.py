# SPDX-License-Identifier: Apache-2.0
"""Bytes of artifacts that are still arriving: one local file per command.

The one idea: a file only ever grows at its end, so its length is the offset at which to resume;
whether the content is right is found out once, by checksum, when it is whole.
"""

import asyncio
import hashlib
from collections.abc import Iterable
from pathlib import Path

from fodc_protocol import ids
from fodc_protocol.errors import Reason
from fodc_proxy.artifacts.errors import StorageError, told_as_storage_error

_SUFFIX = ".part"
_READ_BYTES = 1 << 20


class Partials:
    """The folder of partial files. All methods do their I/O in a thread and raise StorageError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, command_id: str) -> Path:
        """Where the bytes of this command are."""
        return self._folder / (ids.safe_name(command_id) + _SUFFIX)

    async def open(self) -> None:
        """Create the folder; only its owner may look inside."""
        with told_as_storage_error(f"folder {self._folder}"):
            await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)

    async def size(self, command_id: str) -> int:
        """Bytes that are there, 0 when there is no file."""
        with told_as_storage_error("partial artifact"):
            return await asyncio.to_thread(_size, self.path(command_id))

    async def append(self, command_id: str, offset: int, data: bytes) -> None:
        """Add bytes that belong at `offset`; what an earlier failure wrote beyond it is cut."""
        with told_as_storage_error("partial artifact"):
            await asyncio.to_thread(_append, self.path(command_id), offset, data)

    async def discard(self, command_id: str) -> None:
        """Drop the bytes of this command."""
        with told_as_storage_error("partial artifact"):
            await asyncio.to_thread(self.path(command_id).unlink, missing_ok=True)

    async def sweep(self, wanted: Iterable[str]) -> int:
        """Drop all files but those of the wanted commands; says how many were dropped."""
        keep = {self.path(command_id).name for command_id in wanted}
        with told_as_storage_error("partial artifacts"):
            return await asyncio.to_thread(_sweep, self._folder, keep)

    async def verify(self, command_id: str, size_bytes: int, sha256: str) -> Path:
        """Return the path of a whole and unchanged file.

        Raises StorageError with reason ChecksumMismatch when size or SHA-256 differ.
        """
        path = self.path(command_id)
        with told_as_storage_error("partial artifact"):
            # An artifact without bytes never had a chunk.
            size, digest = await asyncio.to_thread(_digest, path)
        if (size, digest) == (size_bytes, sha256):
            return path
        message = f"{size} bytes with SHA-256 {digest} arrived, announced were {size_bytes} bytes"
        raise StorageError(f"{message} with {sha256:.64}", reason=Reason.CHECKSUM_MISMATCH)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(path: Path, offset: int, data: bytes) -> None:
    path.touch(mode=0o600)
    with path.open("r+b") as file:
        have = file.seek(0, 2)
        if have < offset:
            message = f"has {have} bytes, the next belong at {offset}"
            raise OSError(message)
        if have > offset:
            file.truncate(offset)
            file.seek(offset)
        file.write(data)


def _sweep(folder: Path, keep: set[str]) -> int:
    dropped = [path for path in folder.glob(f"*{_SUFFIX}") if path.name not in keep]
    for path in dropped:
        path.unlink(missing_ok=True)
    return len(dropped)


def _digest(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    path.touch(mode=0o600)
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()

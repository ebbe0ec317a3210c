# SPDX-License-Identifier: Apache-2.0
"""The few things that are done to files, so that tests can forget what was not synced.

The one idea: a disk keeps what was synced and no more; whoever wants something kept says so here,
and a simulated disk with the same methods shows what a power cut leaves.
"""

import os
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """A file system; every method raises OSError."""

    def write(self, path: Path, blocks: Iterable[bytes]) -> None:
        """Write a file anew and sync it; on an error its content is anything."""

    def append(self, path: Path, offset: int, data: bytes) -> None:
        """Add bytes that belong at `offset` and cut what is beyond it; not synced."""

    def read(self, path: Path, start: int, size: int) -> bytes:
        """Return up to `size` bytes from `start` on."""

    def size(self, path: Path) -> int:
        """Return the length of a file in bytes."""

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, in place of the file that had it."""

    def remove(self, path: Path) -> None:
        """Remove a file; one that is not there is fine."""

    def make_folder(self, path: Path) -> bool:
        """Create a folder in one that is there; False when it is there already."""

    def remove_folder(self, path: Path) -> None:
        """Remove a folder that is empty."""

    def sync_folder(self, path: Path) -> None:
        """Keep the names in a folder as they are now."""

    def sizes(self, folder: Path) -> dict[str, int]:
        """Return all files below a folder by their relative path, with their lengths."""


class RealFiles:
    """The file system of the machine; what is made is for its owner only."""

    def write(self, path: Path, blocks: Iterable[bytes]) -> None:
        """Write a file anew and sync it; on an error its content is anything."""
        with _opened(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC) as file:
            for block in blocks:
                _write_all(file, block)
            os.fsync(file.fileno())

    def append(self, path: Path, offset: int, data: bytes) -> None:
        """Add bytes that belong at `offset` and cut what is beyond it; not synced."""
        with _opened(path, os.O_CREAT | os.O_RDWR) as file:
            have = file.seek(0, os.SEEK_END)
            if have < offset:
                message = f"has {have} bytes, the next belong at {offset}"
                raise OSError(message)
            file.truncate(offset)
            file.seek(offset)
            _write_all(file, data)

    def read(self, path: Path, start: int, size: int) -> bytes:
        """Return up to `size` bytes from `start` on."""
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def size(self, path: Path) -> int:
        """Return the length of a file in bytes."""
        return path.stat().st_size

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, in place of the file that had it."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is not there is fine."""
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> bool:
        """Create a folder in one that is there; False when it is there already."""
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            if not path.is_dir():
                raise
            return False
        return True

    def remove_folder(self, path: Path) -> None:
        """Remove a folder that is empty."""
        path.rmdir()

    def sync_folder(self, path: Path) -> None:
        """Keep the names in a folder as they are now."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sizes(self, folder: Path) -> dict[str, int]:
        """Return all files below a folder by their relative path, with their lengths."""
        return {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file()
        }


def _opened(path: Path, flags: int) -> FileIO:
    """Open without a buffer, so that a full disk is told by the write and not by the close."""
    handle = os.open(path, flags | os.O_CLOEXEC, 0o600)
    return FileIO(handle, "r+" if flags & os.O_RDWR else "w")


def _write_all(file: FileIO, data: bytes) -> None:
    """Write every byte: a file without a buffer may take fewer than it was given."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]

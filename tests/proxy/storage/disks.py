# SPDX-License-Identifier: Apache-2.0
"""A disk in memory that forgets at a power cut what was not synced, and fails when told to.

It is as unkind as a disk may be: each name and each content that was not synced is kept, lost or
torn by choice, whatever the order in which they were written.
"""

import errno
import functools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

Choose = Callable[[int], int]
"""Returns a number below the given one."""


def alone(method):
    """Let one thread at a time into the disk."""

    @functools.wraps(method)
    def run(self, *told):
        with self.turn:
            return method(self, *told)

    return run


@dataclass(eq=False)
class File:
    content: bytes = b""
    synced: bytes | None = None


@dataclass(eq=False)
class Folder:
    pass


@dataclass
class SimulatedDisk:
    """Implements `files.Files` below `root`, which is there and stays."""

    root: Path
    steps: int = 0
    # At this step, counted from 1, the power goes; 0 is never.
    dies_at: int = 0
    dead: bool = False
    # From this step on, for so many steps, calls fail like this.
    fails_at: int = 0
    fails_for: int = 1
    fault: int = errno.ENOSPC
    names: dict[Path, File | Folder] = field(default_factory=dict)
    kept: dict[Path, File | Folder] = field(default_factory=dict)
    turn: threading.RLock = field(default_factory=threading.RLock)

    def _step(self) -> None:
        self.steps += 1
        if self.dead or self.steps == self.dies_at:
            self.dead = True
            raise OSError(errno.EIO, "the power is cut")
        if self.fails_at <= self.steps < self.fails_at + self.fails_for:
            raise OSError(self.fault, "as told")

    def _file(self, path: Path) -> File:
        found = self.names.get(path)
        if not isinstance(found, File):
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return found

    def _has_folder(self, path: Path) -> bool:
        return path == self.root or isinstance(self.names.get(path), Folder)

    def _need_folder(self, path: Path) -> None:
        if not self._has_folder(path):
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(path))

    # ---- what a program does --------------------------------------------------------------------

    @alone
    def write(self, path: Path, blocks: Iterable[bytes]) -> None:
        self._step()
        self._need_folder(path.parent)
        file = self.names[path] = File()
        for block in blocks:
            self._step()
            file.content += block
        self._step()
        file.synced = file.content

    @alone
    def append(self, path: Path, offset: int, data: bytes) -> None:
        self._step()
        self._need_folder(path.parent)
        file = self.names.setdefault(path, File())
        assert isinstance(file, File)
        if len(file.content) < offset:
            raise OSError(f"has {len(file.content)} bytes, the next belong at {offset}")
        file.content = file.content[:offset] + data

    @alone
    def read(self, path: Path, start: int, size: int) -> bytes:
        return self._file(path).content[start : start + size]

    @alone
    def size(self, path: Path) -> int:
        return len(self._file(path).content)

    @alone
    def rename(self, source: Path, target: Path) -> None:
        self._step()
        self._need_folder(target.parent)
        self.names[target] = self._file(source)
        del self.names[source]

    @alone
    def remove(self, path: Path) -> None:
        self._step()
        self.names.pop(path, None)

    @alone
    def make_folder(self, path: Path) -> bool:
        self._step()
        if self._has_folder(path):
            return False
        self._need_folder(path.parent)
        self.names[path] = Folder()
        return True

    @alone
    def remove_folder(self, path: Path) -> None:
        self._step()
        if any(one.parent == path for one in self.names):
            raise OSError(errno.ENOTEMPTY, "not empty")
        self.names.pop(path, None)

    @alone
    def sync_folder(self, path: Path) -> None:
        self._step()
        self._need_folder(path)
        for one in self._differing():
            if one.parent == path:
                self._keep(one)

    @alone
    def sizes(self, folder: Path) -> dict[str, int]:
        return {
            path.relative_to(folder).as_posix(): len(one.content)
            for path, one in self.names.items()
            if isinstance(one, File) and folder in path.parents
        }

    # ---- what happens to it ---------------------------------------------------------------------

    def _differing(self) -> list[Path]:
        paths = dict.fromkeys([*self.names, *self.kept])
        return [path for path in paths if self.names.get(path) is not self.kept.get(path)]

    def _keep(self, path: Path) -> None:
        if path in self.names:
            self.kept[path] = self.names[path]
        else:
            self.kept.pop(path, None)

    @alone
    def cut_power(self, choose: Choose) -> None:
        """Lose what was not synced, by choice, and start again."""
        for path in self._differing():
            if choose(2):
                self._keep(path)
        self.names = {
            path: one
            for path, one in self.kept.items()
            if all(isinstance(self.kept.get(above), Folder) for above in self._above(path))
        }
        for one in self.names.values():
            if isinstance(one, File) and one.content != one.synced:
                torn = one.content[: choose(len(one.content) + 1)]
                one.content = (one.synced or b"", one.content, torn, bytes(len(torn)))[choose(4)]
                one.synced = one.content
        self.kept = dict(self.names)
        self.dead, self.dies_at = False, 0

    @alone
    def survivors(self) -> dict[Path, bytes]:
        """Content that any power cut leaves as it is."""
        return {
            path: one.synced
            for path, one in self.kept.items()
            if isinstance(one, File) and one.synced is not None
        }

    def _above(self, path: Path) -> list[Path]:
        return [one for one in path.parents if self.root in one.parents]

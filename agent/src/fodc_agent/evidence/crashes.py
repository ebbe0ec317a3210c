# SPDX-License-Identifier: Apache-2.0
"""The folder into which a node writes its crashes.

The one idea: the folder belongs to the node and appears with its first panic, so it is looked into
when somebody asks, each crash by itself: one that is half written or broken hides no other, and is
whole the next time.
"""

import logging
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.evidence.panics import NoCrashError, crash_message
from fodc_agent.lanes import Lane
from fodc_protocol.lean import dataclass

NEWEST: Final = 5
"""How many crashes are told, as by the existing agent."""
RECORD_BYTES: Final = 1024 * 1024
_MOST_ENTRIES: Final = 10_000
_MOST_FILES: Final = 32
_RECORD: Final = "panic.json"
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """A crash that was read, and by what it is known to be the same."""

    mark: tuple[int, int, tuple[str, ...]]
    message: bytes


class CrashFolder:
    """The newest crashes in a folder."""

    def __init__(self, folder: Path, *, now_ns: Callable[[], int]) -> None:
        self._folder = folder
        self._now_ns = now_ns
        self._lane = Lane("crashes")
        self._known: dict[str, _Known] = {}

    async def messages(self) -> tuple[bytes, ...]:
        """Return the newest crashes, the newest first, as the existing contract has them.

        Raises OSError for a folder that is there and cannot be read.
        """
        return await self._lane.run(partial(self._read))

    async def newest(self) -> tuple[tuple[str, float], ...]:
        """Return names and times (Unix seconds) of the newest crashes that are whole.

        Raises OSError as `messages` does.
        """
        await self._lane.run(self._read)
        return tuple((name, one.mark[0] / 1e9) for name, one in self._known.items())

    def _read(self) -> tuple[bytes, ...]:
        try:
            with os.scandir(self._folder) as entries:
                names = _newest(entries)
        except FileNotFoundError:
            return ()
        found: dict[str, _Known] = {}
        for name in names:
            try:
                found[name] = self._crash(name)
            except (OSError, NoCrashError) as error:
                _log.info("crash_passed_over name=%r error=%r", name[:200], str(error)[:200])
            if len(found) == NEWEST:
                break
        self._known = found
        return tuple(one.message for one in found.values())

    def _crash(self, name: str) -> _Known:
        folder = self._folder / name
        # The node owns this folder: a link in it must not lead us anywhere else.
        opened = os.open(folder / _RECORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(opened, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise NoCrashError("panic.json is no file")
            if about.st_size > RECORD_BYTES:
                raise NoCrashError(f"panic.json has {about.st_size} bytes")
            files = _files(folder)
            mark = (about.st_mtime_ns, about.st_size, files)
            known = self._known.get(name)
            if known is not None and known.mark == mark:
                return known
            content = file.read(RECORD_BYTES + 1)
        endpoint = f"file://{self._folder}"
        told = crash_message(
            content, endpoint=endpoint, name=name, files=files, fetched_ns=self._now_ns()
        )
        return _Known(mark, told)


def _newest(entries: "os._ScandirIterator[str]") -> list[str]:
    """Return names of folders, the newest first: they begin with their time."""
    names: list[str] = []
    for number, entry in enumerate(entries):
        if number >= _MOST_ENTRIES:
            break
        if entry.is_dir(follow_symlinks=False) and entry.name.isprintable():
            names.append(entry.name)
    return sorted(names, reverse=True)[: 4 * NEWEST]


def _files(folder: Path) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        names = [entry.name for _, entry in zip(range(_MOST_ENTRIES), entries, strict=False)]
    return tuple(sorted(name for name in names if name.isprintable())[:_MOST_FILES])

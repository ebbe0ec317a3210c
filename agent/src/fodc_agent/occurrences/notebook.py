# SPDX-License-Identifier: Apache-2.0
"""The file in which occurrences wait for a proxy.

The one idea: whoever changed something asks for it to be written and may wait for that; what comes
while the disk is busy is written once, with the next turn. A disk that fails is a problem that
shows, and no reason to tell nothing.
"""

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.lanes import Lane
from fodc_agent.occurrences.keeping import MOST_BYTES, BrokenNotesError, Notes, read, written
from fodc_agent.own_folder import make_own

FILE: Final = "occurrences.fodc-notes"
_FRESH: Final = ".new"
_DISK_S: Final = 5.0
_log: Final = logging.getLogger(__name__)


class Notebook:
    """Keeps notes in a file of a folder; `problem` says why it does not, empty when it does."""

    def __init__(self, folder: Path) -> None:
        self.problem = ""
        self._folder = folder
        self._path = folder / FILE
        self._lane = Lane("occurrences", timeout_s=_DISK_S)

    async def open(self) -> Notes:
        """Return what an earlier life has left; nothing where that cannot be read."""
        try:
            return await self._lane.run(self._read)
        except BrokenNotesError as error:
            _log.warning("occurrences_lost file=%s reason=%r", self._path, str(error))
        except OSError as error:
            self._failed(error)
        return Notes()

    def _read(self) -> Notes:
        make_own(self._folder)
        try:
            with self._path.open("rb") as file:
                return read(file.read(MOST_BYTES + 1))
        except FileNotFoundError:
            return Notes()

    async def write(self, notes: Callable[[], Notes]) -> None:
        """Bring the notes as they are when the disk is ready for them to the disk.

        Returns within a few seconds, whether that worked or not.
        """
        try:
            await self._lane.run(partial(self._replace, written(notes())))
        except OSError as error:
            self._failed(error)
        else:
            self.problem = ""

    def _replace(self, text: bytes) -> None:
        fresh = self._path.with_name(FILE + _FRESH)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        fresh.replace(self._path)

    def _failed(self, error: OSError) -> None:
        problem = f"{self._path}: {error.strerror or error}"
        if problem != self.problem:
            _log.warning("occurrences_not_kept problem=%r", problem)
        self.problem = problem

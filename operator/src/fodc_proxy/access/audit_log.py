# SPDX-License-Identifier: Apache-2.0
"""Writes what was done, in a thread of its own.

The one idea: a disk that is full or a pipe that nobody reads costs lines of the audit, which is
counted and told, and nothing else: whoever needs a profile at night gets it.
"""

import logging
import os
import queue
import threading
from pathlib import Path
from typing import Final

from fodc_proxy.access.audit import Deed, line_of

OPTION: Final = "audit-log"
NONE: Final = "none"
_STREAMS: Final = {"stdout": 1, "stderr": 2}
_MOST_WAITING: Final = 1024
_END_S: Final = 1.0
_log = logging.getLogger(__name__)


class AuditLog:
    """Where lines go: `stdout`, `stderr`, a file, or `none`."""

    def __init__(self, goal: str) -> None:
        self._goal = goal
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self._file = -1
        self._thread: threading.Thread | None = None
        self.fault = ""
        """Why lines cannot be written now, empty when they can."""
        self.lost = 0
        self.written = 0

    def __str__(self) -> str:
        """Say where lines go, for people."""
        if self._goal == NONE:
            return f"changes and reads of artifacts are written nowhere (--{OPTION}={NONE})"
        lost = f"; {self.lost} lines were lost" if self.lost else ""
        if self.fault:
            return f"DOES NOT WORK: {self._goal}: {self.fault}{lost}"
        return f"written to {self._goal}{lost}"

    def start(self) -> None:
        """Begin to write; raises OSError for a file that cannot be opened."""
        if self._goal == NONE:
            return
        if self._goal not in _STREAMS:
            self._open()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def note(self, deed: Deed) -> None:
        """Have a deed written; never waits."""
        if self._thread is None:
            return
        try:
            self._lines.put_nowait(line_of(deed))
        except queue.Full:
            self._failed("lines come faster than they can be written")

    def stop(self) -> None:
        """Write what waits, for a moment at most."""
        if self._thread is None:
            return
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_END_S)
        self._thread = None

    # ---- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line)
            except OSError as error:
                self._failed((error.strerror or str(error)).lower())
            else:
                self.written += 1
                self.fault = ""
        self._close()

    def _write(self, line: bytes) -> None:
        file = _STREAMS.get(self._goal)
        if file is None:
            self._reopen()
            file = self._file
        while line:
            line = line[os.write(file, line) :]

    def _reopen(self) -> None:
        """Open the file anew when it was moved away, as those do that rotate logs."""
        if self._file >= 0:
            there, ours = self._stat(), os.fstat(self._file)
            if there is not None and (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev):
                return
            self._close()
        self._open()

    def _stat(self) -> os.stat_result | None:
        try:
            return Path(self._goal).stat()
        except FileNotFoundError:
            return None

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(self._goal, flags, 0o600)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _failed(self, why: str) -> None:
        self.lost += 1
        if why != self.fault:
            _log.error("the audit log %s cannot be written: %s", self._goal, why)
        self.fault = why

# SPDX-License-Identifier: Apache-2.0
"""The lock on a data folder: one proxy writes there, and a second one is told which.

The one idea: the system lets go of the lock when a process ends, however it ends, so nothing is
ever left locked; what stands in the file is for people only.
"""

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Final

from fodc_protocol import times
from fodc_proxy.storage.errors import HeldError

LOCK_FILE: Final = "lock"
_MOST_BYTES: Final = 1000


class FolderLock:
    """A lock on `folder`; opening and closing do file access."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle: int | None = None

    def take(self, now_s: int) -> None:
        """Lock the folder, once; raises HeldError that says who has it, and OSError."""
        if self._handle is not None:
            return
        handle = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(_words(now_s)).encode(), 0)
        except BlockingIOError:
            holder = _shown(os.pread(handle, _MOST_BYTES, 0))
            os.close(handle)
            raise HeldError(
                f"the data folder {self._folder} is in use by {holder}; "
                "end that one, or give this one another --data-dir or --artifact-store"
            ) from None
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle

    def release(self) -> None:
        """Let another one have it; harmless without the lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _words(now_s: int) -> dict[str, object]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": times.format_rfc3339(now_s)}


def _shown(data: bytes) -> str:
    """Say who wrote this; it is a file that anybody may have written."""
    try:
        told = json.loads(data)
        return f"process {int(told['pid'])} on {str(told['host'])[:80]} since {told['since']:.30}"
    except (ValueError, KeyError, TypeError):
        return "another process"

# SPDX-License-Identifier: Apache-2.0
"""The newest reports of the migration between tiers, as a sidecar of the node writes them."""

import os
import stat
from pathlib import Path
from typing import Final

NEWEST: Final = 5
REPORT_BYTES: Final = 256 * 1024
"""Longer ones are passed over: all of them are held at a time."""
_MOST_ENTRIES: Final = 10_000


def newest_reports(folder: Path) -> list[tuple[str, str]]:
    """Return names and texts of the newest reports, the newest first; blocking.

    Raises OSError for a folder that is there and cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(_MOST_ENTRIES), entries, strict=False)]
    except FileNotFoundError:
        return []
    wanted = [name for name in names if name.endswith(".json") and name.isprintable()]
    found: list[tuple[str, str]] = []
    for name in sorted(wanted, reverse=True)[:NEWEST]:
        text = _text(folder / name)
        if text is not None:
            found.append((name, text))
    return found


def _text(path: Path) -> str | None:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(opened, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size > REPORT_BYTES:
                return None
            return file.read(REPORT_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return None

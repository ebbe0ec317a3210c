# SPDX-License-Identifier: Apache-2.0
"""Removes the directories of targets that are gone.

The one idea: a target that is missing for a moment finds its window and captures again; one that
is missing for ten minutes is gone, and its disk space belongs to the others.
"""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 600.0


class Leftovers:
    """Watches directories that hold one directory for each target, and nothing else."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)
        self._since_s: dict[Path, float] = {}

    def sweep(self, kept: Iterable[str], now_s: float) -> list[Path]:
        """Remove what nobody has wanted since ten minutes; return it. Blocks on the disk."""
        wanted = set(kept)
        strangers = {path for path in self._found() if path.name not in wanted}
        self._since_s = {path: self._since_s.get(path, now_s) for path in strangers}
        removed = [path for path, since in self._since_s.items() if now_s - since >= PATIENCE_S]
        for path in removed:
            shutil.rmtree(path, ignore_errors=True)
        return sorted(removed)

    def _found(self) -> Iterable[Path]:
        for root in self._roots:
            try:
                yield from [path for path in root.iterdir() if path.is_dir()]
            except OSError:
                continue  # Nothing was written there yet.

# SPDX-License-Identifier: Apache-2.0
"""How much the agent may write where its folders lie in memory.

The one idea: what a container writes into a tmpfs counts against its memory limit, beyond which the
kernel ends it; and on some machines that is where an emptyDir is. So the files of such an agent
get what its process leaves of the limit. On a disk nothing changes: the kernel drops pages of files
before it ends anybody.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Final

from fodc_agent.budget import MIB
from fodc_agent.settings import Settings

PROCESS_BYTES: Final = 48 * MIB
"""The most that the process needs (36 MiB seen), and what the kernel counts beside it."""
LEAST_SHARE: Final = 4
"""Files may have at least so many parts in one of the limit, however small it is."""
JOURNAL_SHARE: Final = 4
"""The journal of the window may have so many parts in one of what files may have."""
_KINDS: Final = frozenset({"tmpfs", "ramfs"})
_ESCAPES: Final = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def fitted(settings: Settings, limit_bytes: int | None, mounts: str) -> Settings:
    """Return the settings with what the files may have; `limit_bytes` is 0 or None for no limit.

    `mounts` is the text of /proc/self/mountinfo.
    """
    in_memory = set(_in_memory((settings.capture_dir, settings.recorder_dir), mounts))
    if not limit_bytes or not in_memory:
        return settings
    room = max(limit_bytes - PROCESS_BYTES, limit_bytes // LEAST_SHARE)
    journal, quota = settings.recorder_max_bytes, settings.capture_quota_bytes
    if settings.recorder_dir in in_memory:
        journal = min(journal, room // JOURNAL_SHARE)
        room -= journal
    if settings.capture_dir in in_memory:
        quota = min(quota, room)
    return replace(settings, recorder_max_bytes=journal, capture_quota_bytes=quota)


def read_mounts(path: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the mounts of this process, empty when they cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _in_memory(folders: Iterable[Path | None], mounts: str) -> Iterator[Path]:
    kinds = dict(_kinds(mounts))
    for folder in folders:
        if folder is None:
            continue
        place = Path.cwd() / folder
        mount = next((one for one in (place, *place.parents) if one in kinds), None)
        if mount is not None and kinds[mount] in _KINDS:
            yield folder


def _kinds(mounts: str) -> Iterator[tuple[PurePath, str]]:
    """Yield mount points and the kinds of their file systems; the last one at a place counts."""
    for line in mounts.splitlines():
        place, separator, rest = line.partition(" - ")
        words, kind = place.split(" "), rest.partition(" ")[0]
        if separator and len(words) > 4:
            point = words[4]
            for told, meant in _ESCAPES:
                point = point.replace(told, meant)
            yield Path(point), kind

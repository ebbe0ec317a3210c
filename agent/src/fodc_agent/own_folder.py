# SPDX-License-Identifier: Apache-2.0
"""Folders that the agent may write to: its own, not what a symlink makes of somebody else's.

The one idea: who can put a symlink in the way of a folder must not be able to choose where a
stronger user writes, deletes and changes modes.
"""

import errno
import os
import stat
from pathlib import Path

_ROOT = 0


def make_own(folder: Path, user_id: int | None = None) -> None:
    """Create a folder (mode 0700) unless it is there; raises OSError as `check_own` does."""
    check_own(folder, user_id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_own(folder, user_id)


def check_own(folder: Path, user_id: int | None = None) -> None:
    """Refuse a folder that is reached over somebody else's symlink, or lies behind one of ours.

    A folder that is not there yet is fine, and so is one that was mounted for us and belongs to
    root. Raises PermissionError that says which path and whose; other OSErrors pass.
    """
    user = os.geteuid() if user_id is None else user_id
    absolute = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow the symlinks
    for path in [*reversed(absolute.parents), absolute]:
        owner = _link_owner(path)
        if owner is not None and owner not in {_ROOT, user}:
            raise _refusal(path, f"is a symlink of user {owner}")
    if _link_owner(absolute) is not None and absolute.exists():
        owner = absolute.stat().st_uid
        if owner != user:
            raise _refusal(absolute, f"is a symlink into a folder of user {owner}")


def in_the_way_of(folder: Path) -> Path | None:
    """Return what stands where a folder should be and is none, such as a file; None when nothing.

    A disk that cannot be read says nothing here: it may be better a moment later.
    """
    for path in (folder, *folder.parents):
        try:
            return None if stat.S_ISDIR(path.stat().st_mode) else path
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return None
    return None


def _link_owner(path: Path) -> int | None:
    """Return the owner of a symlink, None for anything else or nothing."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_uid if stat.S_ISLNK(found.st_mode) else None


def _refusal(path: Path, problem: str) -> PermissionError:
    return PermissionError(errno.EPERM, f"{path} {problem}; name a folder of the agent's own")

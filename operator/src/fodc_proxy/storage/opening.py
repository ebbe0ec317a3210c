# SPDX-License-Identifier: Apache-2.0
"""From --artifact-store to a store.

The one idea: what speaks to buckets is imported when a bucket is named, so that a proxy with a
folder has neither its memory nor its time.
"""

import contextlib
import os
import secrets
import shutil
import socket
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fodc_proxy.storage.folder import FolderObjects
from fodc_proxy.storage.objects import Objects

STORE_FOLDER: Final = "store"
INSTANCE_FILE: Final = "instance"


def folder_of(url: str, data_dir: Path) -> Path | None:
    """Return the folder that a URL means, below the data folder without one, None for a bucket."""
    if not url:
        return data_dir / STORE_FOLDER
    parts = urlsplit(url)
    return Path(parts.path) if parts.scheme == "file" else None


def objects_at(url: str, data_dir: Path) -> Objects:
    """Return the store at a URL; `data_dir` is what the writer of a bucket is known by.

    Raises StorageError for a bucket that cannot be spoken to at all.
    """
    folder = folder_of(url, data_dir)
    if folder is not None:
        return FolderObjects(folder)
    from fodc_proxy.storage import bucket, epoch  # noqa: PLC0415 - a large library, seldom used

    program = f"process {os.getpid()} on {socket.gethostname()}"
    return bucket.bucket_at(url, epoch.Writer(_instance_of(data_dir), program))


def _instance_of(data_dir: Path) -> str:
    """Return what tells this data folder from every other one; made up at the first start."""
    path = data_dir / INSTANCE_FILE
    made = secrets.token_hex(8)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), path.open("x", encoding="ascii") as file:
            file.write(made)
        return path.read_text(encoding="ascii")[:64] or made
    except (OSError, ValueError):
        return made  # the folder of partial bytes will tell what is wrong with it


def room_bytes(url: str, data_dir: Path) -> int | None:
    """Return the size of the file system that a folder is on, None for a bucket; raises OSError."""
    folder = folder_of(url, data_dir)
    if folder is None:
        return None
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).total

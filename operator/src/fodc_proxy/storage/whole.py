# SPDX-License-Identifier: Apache-2.0
"""Artifacts that are small enough to be written, and read back after a start, in one piece."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError
from fodc_proxy.storage.artifacts import ArtifactStore, Stored
from fodc_proxy.storage.errors import StorageError
from fodc_proxy.storage.partials import Partials

T = TypeVar("T")
_log = logging.getLogger(__name__)


async def stored_whole(
    store: ArtifactStore, partials: Partials, manifest: Manifest, content: bytes
) -> None:
    """Commit an artifact whose bytes are at hand; raises StorageError."""
    id_ = manifest.artifact_id
    await partials.append(id_, 0, content)
    await store.commit(manifest, partials.path(id_))
    await partials.discard(id_)


async def read_back(
    store: ArtifactStore,
    chosen: Iterable[Stored],
    read: Callable[[Manifest, bytes], T],
    *,
    what: str,
    most_bytes: int,
) -> list[T]:
    """Read each of the chosen that is sound; one that cannot be read hides no other.

    `what` is how one of more than `most_bytes` is called in the log.
    """
    found: list[T] = []
    for stored in chosen:
        if stored.damage:
            continue
        try:
            size_bytes = stored.manifest.size_bytes
            if size_bytes > most_bytes:
                raise StorageError(f"a {what} of {size_bytes} bytes is none of ours")
            content = b"".join([block async for block in store.stream(stored, 0, size_bytes)])
            found.append(read(stored.manifest, content))
        except (FodcError, msgspec.MsgspecError, ValueError) as error:
            _log.warning("%s cannot be read: %s", stored.key, error)
    return found

# SPDX-License-Identifier: Apache-2.0
"""Objects in a bucket of S3, Google Cloud Storage or Azure, through obstore.

The one idea: every write looks first who writes (`epoch`), and small objects are replaced only in
the version that this writer knows; so what an older one has on its way does not outlive the next
write of the newer.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import obstore
from obstore import exceptions as obstore_errors
from obstore.store import ObjectStore, from_url

from fodc_proxy.storage.calls import (
    CONFLICTS,
    Version,
    first_line,
    told,
    told_of_write,
    version_of,
)
from fodc_proxy.storage.epoch import Epoch, Patience, Writer
from fodc_proxy.storage.errors import StorageError
from fodc_proxy.storage.objects import STREAM_CHUNK_BYTES

LIST_CHUNK: Final = 500
_TRIES: Final = 5


class BucketObjects:
    """Objects in a bucket; implements `objects.Objects`."""

    def __init__(
        self, store: ObjectStore, place: str, writer: Writer, *, patience: Patience | None = None
    ) -> None:
        """Speak to `store`, which people know as `place`, as `writer`."""
        self._store = store
        self._place = place
        self._patience = patience or Patience()
        self._epoch = Epoch(store, place, writer, self._patience)
        self._versions: dict[str, Version] = {}

    @property
    def place(self) -> str:
        """Where the objects are, for people."""
        return self._place

    async def open(self, *, elected: bool = False) -> None:
        """Become the one writer; raises HeldError that says who is."""
        await self._epoch.open(elected=elected)

    async def close(self) -> None:
        """Let another one write."""
        await self._epoch.close()

    # ---- writing --------------------------------------------------------------------------------

    async def put(self, key: str, content: bytes | Path) -> None:
        """Store or replace an object; durable when this returns."""
        await self._epoch.check()
        if isinstance(content, Path):
            await self._put_file(key, content)
        else:
            await self._put_version(key, content)

    async def _put_file(self, key: str, path: Path) -> None:
        """Store the bytes of an artifact in parts: their manifest says what they must be."""
        with told_of_write(key, self._place):
            async with asyncio.timeout(self._patience.timeout_s * 5):
                await obstore.put_async(self._store, key, path)

    async def _put_version(self, key: str, data: bytes) -> None:
        """Replace the version that is known; one by somebody else means to look who writes."""
        for _ in range(_TRIES):
            known = self._versions.get(key)
            try:
                with told_of_write(key, self._place):
                    async with asyncio.timeout(self._patience.timeout_s):
                        put = await obstore.put_async(
                            self._store, key, data, mode=known or "create", use_multipart=False
                        )
            except CONFLICTS:
                await self._epoch.check()
                await self._learn_version(key)
                continue
            self._versions[key] = version_of(put)
            return
        raise StorageError(f"writing {key}: somebody else changes it all the time")

    async def _learn_version(self, key: str) -> None:
        """Take in what a write of an earlier writer, or a lost answer, has left."""
        with told(f"reading {key}"):
            async with asyncio.timeout(self._patience.timeout_s):
                try:
                    self._versions[key] = version_of(await obstore.head_async(self._store, key))
                except FileNotFoundError:
                    self._versions.pop(key, None)

    async def delete(self, key: str) -> None:
        """Remove an object for good; one that is not there is fine."""
        await self._epoch.check()
        with told(f"removing {key}"):
            async with asyncio.timeout(self._patience.timeout_s):
                with contextlib.suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, key)
        self._versions.pop(key, None)

    # ---- reading --------------------------------------------------------------------------------

    async def get(self, key: str) -> bytes:
        """Return a small object."""
        with told(f"reading {key}"):
            async with asyncio.timeout(self._patience.timeout_s):
                found = await obstore.get_async(self._store, key)
                return bytes(await found.bytes_async())

    async def keys(self, prefix: str) -> dict[str, int]:
        """Return the keys below a prefix with their sizes in bytes."""
        found: dict[str, int] = {}
        with told(f"listing {prefix}"):
            async with asyncio.timeout(self._patience.timeout_s):
                async for batch in obstore.list(self._store, prefix, chunk_size=LIST_CHUNK):
                    for item in batch:
                        found[item["path"]] = item["size"]
                        self._versions[item["path"]] = version_of(item)
        return found

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`."""
        if start >= end:
            return
        with told(f"reading {key}"):
            async with asyncio.timeout(self._patience.timeout_s):
                result = await obstore.get_async(self._store, key, options={"range": (start, end)})
            blocks = aiter(result.stream(min_chunk_size=STREAM_CHUNK_BYTES))
            while True:
                async with asyncio.timeout(self._patience.timeout_s):
                    block = await anext(blocks, None)
                if block is None:
                    return
                yield bytes(block)


def bucket_at(url: str, writer: Writer) -> BucketObjects:
    """Return the objects at a URL; credentials and endpoints come from the environment.

    Raises StorageError for a URL or credentials that cannot be.
    """
    try:
        store = from_url(
            url,
            client_options={
                "timeout": "60s",
                "connect_timeout": "5s",
                # Options of ours take the place of all that the library reads for itself.
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true",
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
        )
    except (obstore_errors.BaseError, ValueError) as error:
        raise StorageError(f"--artifact-store: {first_line(error)[:200]}") from error
    return BucketObjects(store, url, writer)

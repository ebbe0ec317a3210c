# SPDX-License-Identifier: Apache-2.0
"""Records of requests beside the artifacts, one object each.

The one idea: an object is replaced whole, so a crash leaves the older or the newer record.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from fodc_protocol.errors import FodcError
from fodc_proxy.artifacts import links
from fodc_proxy.artifacts.objects import Objects

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Records(Generic[T]):
    """Records under requests/; the two functions say how one is written and read."""

    def __init__(
        self, objects: Objects, dump: Callable[[T], bytes], load: Callable[[bytes], T]
    ) -> None:
        self._objects = objects
        self._dump = dump
        self._load = load

    async def save(self, record_id: str, record: T) -> None:
        """Store or replace a record; raises StorageError."""
        # A record of many targets takes a while to write down; it is frozen, so a thread may.
        data = await asyncio.to_thread(self._dump, record)
        await self._objects.put(links.request_key(record_id), data)

    async def remove(self, record_id: str) -> None:
        """Remove a record; raises StorageError."""
        await self._objects.delete(links.request_key(record_id))

    async def load_all(self) -> list[T]:
        """All records that can be read; others are logged and left alone. Raises StorageError."""
        found: list[T] = []
        for key in await self._objects.keys(links.REQUESTS):
            data = await self._objects.get(key)
            try:
                found.append(self._load(data))
            except FodcError as error:
                _log.warning("%s cannot be read and is left alone: %s", key, error.message)
        return found

# SPDX-License-Identifier: Apache-2.0
"""Records of requests and incidents beside the artifacts, one object each.

The one idea: an object is replaced whole, so a crash leaves the older or the newer record; one that
cannot be read hides no other, stays where it is, and is told of.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fodc_protocol.errors import FodcError
from fodc_proxy.storage import names
from fodc_proxy.storage.objects import Objects


class Named(Protocol):
    """What has a record."""

    @property
    def id(self) -> str:
        """Its record stands under this."""


T = TypeVar("T", bound=Named)
_READERS = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object that is there and cannot be understood."""

    key: str
    message: str


class Records(Generic[T]):
    """Records in a folder of the store; the two functions say how one is written and read."""

    def __init__(
        self,
        objects: Objects,
        dump: Callable[[T], bytes],
        load: Callable[[bytes], T],
        folder: str = names.REQUESTS,
    ) -> None:
        self._objects = objects
        self._folder = folder
        self._dump = dump
        self._load = load
        self.unreadable: tuple[Unreadable, ...] = ()

    async def save(self, record: T) -> None:
        """Store or replace a record; raises StorageError."""
        # A record of many targets takes a while to write down; it is frozen, so a thread may.
        data = await asyncio.to_thread(self._dump, record)
        await self._objects.put(names.record_key(self._folder, record.id), data)

    async def remove(self, record_id: str) -> None:
        """Remove a record; raises StorageError."""
        await self._objects.delete(names.record_key(self._folder, record_id))

    async def load_all(self) -> list[T]:
        """All records that can be read; `unreadable` has the others. Raises StorageError."""
        keys = await self._objects.keys(self._folder)
        gate = asyncio.Semaphore(_READERS)
        read = await asyncio.gather(*(self._read(key, gate) for key in keys))
        self.unreadable = tuple(one for one in read if isinstance(one, Unreadable))
        return [one for one in read if not isinstance(one, Unreadable)]

    async def _read(self, key: str, gate: asyncio.Semaphore) -> T | Unreadable:
        async with gate:
            data = await self._objects.get(key)
        try:
            record = self._load(data)
        except FodcError as error:
            return _left_alone(key, error.message)
        if names.record_key(self._folder, record.id) != key:
            return _left_alone(key, f"it is the record of {record.id}")
        return record


def _left_alone(key: str, message: str) -> Unreadable:
    _log.error("%s cannot be read and is left alone: %s", key, message)
    return Unreadable(key, message)

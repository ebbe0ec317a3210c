# SPDX-License-Identifier: Apache-2.0
"""How a store does, learnt from what it answers.

The one idea: every operation passes here, so the state that `/readyz` and the metrics show is that
of the last one that told something, and one write on purpose finds out whether it works again.
"""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from fodc_proxy.storage import names
from fodc_proxy.storage.errors import StorageError, Trouble
from fodc_proxy.storage.objects import Objects

_log = logging.getLogger(__name__)


class WatchedObjects:
    """Objects whose state is known; implements `objects.Objects`."""

    def __init__(self, inner: Objects) -> None:
        self._inner = inner
        self.trouble = Trouble.NONE
        self.message = ""

    @property
    def place(self) -> str:
        """Where the objects are, for people."""
        return self._inner.place

    @contextmanager
    def _noted(self, *, writes: bool) -> Iterator[None]:
        """Take in how an operation went; one that reads does not show that writing works."""
        try:
            yield
        except StorageError as error:
            self.note(error)
            raise
        if writes and self.trouble not in {Trouble.NONE, Trouble.FENCED}:
            _log.info("the artifact store works again")
            self.trouble, self.message = Trouble.NONE, ""

    def note(self, error: StorageError) -> None:
        """Take in that something failed."""
        if self.trouble is Trouble.FENCED:
            return  # that never changes again
        if error.trouble is not self.trouble:
            _log.error("the artifact store is %s: %s", error.trouble, error.message)
        self.trouble, self.message = error.trouble, error.message

    async def probe(self) -> None:
        """Find out whether a store in trouble works again."""
        if self.trouble in {Trouble.NONE, Trouble.FENCED}:
            return
        try:
            await self.put(names.PROBE, b"")
        except StorageError as error:
            _log.debug("still %s: %s", self.trouble, error.message)

    async def open(self, *, elected: bool = False) -> None:
        """Become the one writer."""
        with self._noted(writes=True):
            await self._inner.open(elected=elected)

    async def close(self) -> None:
        """Let another one write."""
        await self._inner.close()

    async def put(self, key: str, content: bytes | Path) -> None:
        """Store or replace an object."""
        with self._noted(writes=True):
            await self._inner.put(key, content)

    async def get(self, key: str) -> bytes:
        """Return a small object."""
        with self._noted(writes=False):
            return await self._inner.get(key)

    async def delete(self, key: str) -> None:
        """Remove an object for good."""
        with self._noted(writes=False):
            await self._inner.delete(key)

    async def keys(self, prefix: str) -> dict[str, int]:
        """Return the keys below a prefix with their sizes in bytes."""
        with self._noted(writes=False):
            return await self._inner.keys(prefix)

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`."""
        with self._noted(writes=False):
            async for block in self._inner.stream(key, start, end):
                yield block

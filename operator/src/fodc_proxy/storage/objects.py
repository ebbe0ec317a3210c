# SPDX-License-Identifier: Apache-2.0
"""What a store is: named byte strings, each whole or not there.

The one idea: everything above speaks to this small protocol, so a folder and a bucket serve alike.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

STREAM_CHUNK_BYTES = 256 * 1024


class Objects(Protocol):
    """Named byte strings; every method raises StorageError, reading ones also MissingError."""

    @property
    def place(self) -> str:
        """Where the objects are, for people."""

    async def open(self, *, elected: bool = False) -> None:
        """Become the one writer; raises HeldError that says who is.

        `elected`: somebody else's vote (a Lease) made this proxy the writer: an older one is
        waited for as long as it needs to end, or is fenced.
        """

    async def close(self) -> None:
        """Let another one write."""

    async def put(self, key: str, content: bytes | Path) -> None:
        """Store or replace an object; durable when this returns, unchanged when it raises."""

    async def get(self, key: str) -> bytes:
        """Return a small object."""

    async def delete(self, key: str) -> None:
        """Remove an object for good; one that is not there is fine."""

    async def keys(self, prefix: str) -> dict[str, int]:
        """Return the keys below a prefix with their sizes in bytes."""

    def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`."""

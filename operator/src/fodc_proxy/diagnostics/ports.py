# SPDX-License-Identifier: Apache-2.0
"""What the coordinator needs of others, as protocols."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from fodc_protocol.artifacts import Manifest
from fodc_protocol.link import frames
from fodc_proxy.diagnostics.model import Request
from fodc_proxy.diagnostics.targeting import Candidate


class Fleet(Protocol):
    """Who is there."""

    def candidates(self) -> Sequence[Candidate]:
        """All nodes, one entry per pod, offline ones included."""

    def program_of(self, address: str) -> tuple[str, str]:
        """Version and incarnation of a pod's agent, empty when not known."""


class Link(Protocol):
    """Sends frames to agents (`serving.ports.LinkPort`)."""

    def send(self, address: str, frame: frames.ProxyFrame) -> bool:
        """Queue a frame without waiting; False when it cannot be."""


class RequestRecords(Protocol):
    """Keeps requests over a restart; all methods raise StorageError."""

    async def save(self, record_id: str, record: Request) -> None:
        """Store or replace a record."""

    async def remove(self, record_id: str) -> None:
        """Remove a record."""

    async def load_all(self) -> list[Request]:
        """All records that can be read."""


class PartialBytes(Protocol):
    """Bytes that are still arriving; all methods raise StorageError."""

    async def size(self, command_id: str) -> int:
        """Bytes that are there."""

    async def append(self, command_id: str, offset: int, data: bytes) -> None:
        """Add bytes at the end."""

    async def discard(self, command_id: str) -> None:
        """Drop the bytes of this command."""

    async def sweep(self, wanted: Collection[str]) -> int:
        """Drop all but the wanted ones."""

    async def verify(self, command_id: str, size_bytes: int, sha256: str) -> Path:
        """The file, when it is whole and unchanged."""


class Artifacts(Protocol):
    """Keeps artifacts."""

    async def commit(self, manifest: Manifest, content: Path) -> Manifest:
        """Store a verified file; raises StorageError."""

    def by_command(self) -> dict[str, Manifest]:
        """Manifests by the command that gave them."""

    async def retain(self, running_requests: Collection[str]) -> tuple[str, ...]:
        """Remove the oldest beyond the limits."""

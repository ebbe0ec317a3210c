# SPDX-License-Identifier: Apache-2.0
"""Profiles of short memory as the existing contract lists and fetches them (upstream-agent §11).

The one idea: they are captures in the spool, so a list is what is held now, and a fetch reads the
spool piece by piece; what has made room in the meantime is an error that says so.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, Protocol

from fodc_agent.captures.spool import Held
from fodc_agent.occurrences.keeping import PressureRecord
from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.lean import dataclass

PIECE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ListedPressure:
    """One event: its record, where the profiles are from, and their sizes by kind."""

    record: PressureRecord
    source_endpoint: str
    sizes_bytes: Mapping[str, int]


class Results(Protocol):
    """What was captured for a record (`own_captures.OwnCaptures`)."""

    def results(self, record: PressureRecord) -> dict[str, Held]:
        """Return what is held, by kind of profile."""


class Reading(Protocol):
    """Where the bytes are (`captures.orders.Captures`)."""

    async def read(self, command_id: str, offset_bytes: int, length_bytes: int) -> bytes:
        """Return bytes of a result; raises FodcError and OSError."""


class PressureProfiles:
    """What this agent has of times at which memory was short."""

    def __init__(
        self,
        records: Callable[[], tuple[PressureRecord, ...]],
        results: Results,
        captures: Reading,
        source_endpoint: str,
    ) -> None:
        self._records = records
        self._results = results
        self._captures = captures
        self._source_endpoint = source_endpoint

    def listed(self) -> list[ListedPressure]:
        """Return all events, the newest first."""
        return [
            ListedPressure(
                record,
                self._source_endpoint,
                {kind: held.size_bytes for kind, held in self._results.results(record).items()},
            )
            for record in reversed(self._records())
        ]

    async def pieces(self, profile_id: str, kind: str) -> AsyncIterator[bytes]:
        """Yield the bytes of a profile; raises FodcError (NotFound) and OSError."""
        command_id, size_bytes = self._place(profile_id, kind)
        at = 0
        while at < size_bytes:
            piece = await self._captures.read(command_id, at, min(PIECE_BYTES, size_bytes - at))
            if not piece:
                raise FodcError(f"{kind} ends after {at} of {size_bytes} bytes")
            at += len(piece)
            yield piece

    def _place(self, profile_id: str, kind: str) -> tuple[str, int]:
        for record in self._records():
            held = self._results.results(record) if record.profile_id == profile_id else {}
            if kind in held:
                return held[kind].command_id, held[kind].size_bytes
        message = f"no pressure profile {profile_id!r} of kind {kind!r} on this agent"
        raise FodcError(message, reason=Reason.NOT_FOUND)

# SPDX-License-Identifier: Apache-2.0
"""An occurrence as an agent told it, and who takes it in; pure.

The one idea: the link and the incidents meet here, so that neither knows the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fodc_protocol.occurrences import OccurrenceKind
from fodc_proxy.evidence.findings import Origin


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened to a node; bounded and cleaned where it came in.

    `sequence` counts from 1 in each incarnation of an agent and ascends; `gap` is how many right
    before it found no room and never come.  `occurred_at_ms` is the agent's Unix time.  `fields`
    are those of `fodc_protocol.occurrences`; texts, as they were told.
    """

    origin: Origin
    incarnation: str
    sequence: int
    occurred_at_ms: int
    kind: OccurrenceKind
    message: str
    fields: Mapping[str, str]
    gap: int = 0


class Inbox(Protocol):
    """Takes occurrences in."""

    async def take(self, told: Occurrence) -> None:
        """Return when it is stored durably; then the agent may be told so.

        Telling it again changes nothing: the same address, incarnation and sequence is the same
        occurrence, whatever the agent's id is by now.  Raises StorageError: tell it again later.
        """

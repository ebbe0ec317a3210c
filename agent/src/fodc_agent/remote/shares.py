# SPDX-License-Identifier: Apache-2.0
"""What one of many nodes may take of the memory and disk that the process was given. Pure.

The one idea: the whole is divided by the number of nodes, rounded up to a power of two, so that a
node that comes or goes seldom changes what the others have. A share that is too small to keep
anything is no share: nodes beyond are told that there is no place for them.
"""

from typing import Final

from fodc_protocol.lean import dataclass

LEAST_WINDOW_BYTES: Final = 256 * 1024
"""What keeps the names of some hundred series and an hour of them."""


@dataclass(frozen=True, slots=True)
class Share:
    """Limits in bytes: recorded metrics in memory, their journal and captures on disk."""

    window_bytes: int
    journal_bytes: int
    quota_bytes: int

    @property
    def places(self) -> int:
        """How many nodes can have a window of this whole."""
        fitting = max(self.window_bytes // LEAST_WINDOW_BYTES, 1)
        return 1 << (fitting.bit_length() - 1)

    def among(self, nodes: int) -> "Share":
        """Return what each of so many nodes gets of this whole."""
        slots = 1 << max(nodes - 1, 0).bit_length()
        return Share(
            max(self.window_bytes // slots, 1),
            max(self.journal_bytes // slots, 1),
            max(self.quota_bytes // slots, 1),
        )

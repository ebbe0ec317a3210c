# SPDX-License-Identifier: Apache-2.0
"""What one of many nodes may take of the memory and disk that the process was given. Pure.

The one idea: the whole is divided by the number of nodes, rounded up to a power of two, so that a
node that comes or goes seldom changes what the others have.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """Limits in bytes: recorded metrics in memory, their journal and captures on disk."""

    window_bytes: int
    journal_bytes: int
    quota_bytes: int

    def among(self, nodes: int) -> "Share":
        """Return what each of so many nodes gets of this whole."""
        slots = 1 << max(nodes - 1, 0).bit_length()
        return Share(
            max(self.window_bytes // slots, 1),
            max(self.journal_bytes // slots, 1),
            max(self.quota_bytes // slots, 1),
        )

# SPDX-License-Identifier: Apache-2.0
"""What the controller keeps of each object, and which details the server has not taken yet.

The one idea: a status that was refused as a whole is told without details at once, so that people
who wait see the end; the details are tried again by themselves, ever more rarely.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from fodc_api.words import RequestPhase
from fodc_operator.diagnostics import status
from fodc_operator.diagnostics.pace import retry_pause_ms
from fodc_operator.diagnostics.steps import Seen

MOST_REFUSALS: Final = 8
"""After these the details of an unchanged status are given up: about two minutes."""


@dataclass(slots=True)
class Track:
    """One object that the controller looks after; times in Unix milliseconds."""

    seen: Seen
    version: int
    request_id: str
    has_turn: bool = False
    written_ms: int = 0
    looked_ms: int = 0
    phase: RequestPhase | None = None
    """Of the proxy's request when it was last looked at."""
    failures: int = 0
    refusals: int = 0
    """How often in a row the server took a status without its details only."""
    details: status.Json = field(default_factory=dict)
    """Of the end, as long as the server has not taken them: the proxy may forget them."""
    details_due_ms: int = 0

    def wanted(self, after: status.Json) -> status.Json:
        """Return a status with the details that an earlier write of the end could not tell."""
        return {**after, **self.details}

    def must_wait(self, changes: Mapping[str, object], now_ms: int) -> bool:
        """Say whether these changes are details that were refused a moment ago."""
        if not self.refusals or not status.only_details(changes):
            return False
        return self.refusals >= MOST_REFUSALS or now_ms < self.details_due_ms

    def next_try_ms(self) -> int | None:
        """Return when refused details are tried again, None when they are not."""
        return self.details_due_ms if 0 < self.refusals < MOST_REFUSALS else None

    def wrote(
        self, after: status.Json, version: int, now_ms: int, *, is_whole: bool, is_end: bool
    ) -> None:
        """Keep what was written, unless the watch was faster and told of more."""
        self.failures, self.written_ms = 0, now_ms
        self._note_details(after, now_ms, is_whole=is_whole, is_end=is_end)
        if version > self.version:
            told = after if is_whole else status.without_details(after)
            self.version = version
            self.seen = replace(self.seen, status=status.remembered(told))

    def _note_details(
        self, after: status.Json, now_ms: int, *, is_whole: bool, is_end: bool
    ) -> None:
        self.refusals = 0 if is_whole else self.refusals + 1
        self.details = status.details(after) if is_end and not is_whole else {}
        self.details_due_ms = now_ms + retry_pause_ms(self.refusals)

# SPDX-License-Identifier: Apache-2.0
"""Carries readings from the bus into the recorder.

The one idea: each source has its own task, so that one that fails is only one that fails; what is
wrong with it now is in `problems` until its next good reading.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from fodc_agent.bus.coordinator import Coordinator, Reading
from fodc_agent.bus.mailbox import Policy
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.recorder.track import PageReport
from fodc_agent.sources.readings import SourceReading
from fodc_protocol.link.frames import Condition

_log: Final = logging.getLogger(__name__)


class Recording:
    """Records sources; `problems` and `conditions` by source tell what is wrong now."""

    def __init__(self, coordinator: Coordinator, recorder: Recorder) -> None:
        self._coordinator = coordinator
        self._recorder = recorder
        self.problems: dict[str, str] = {}
        self.conditions: dict[str, Sequence[Condition]] = {}
        self.skipped_lines: dict[str, int] = {}
        self.first_reading = asyncio.Event()

    async def record(self, source: str, interval_s: float) -> None:
        """Record one source for as long as the bus runs."""
        subscription = self._coordinator.subscribe(
            source, interval_s, Policy.DROP_OLDEST, capacity=4
        )
        try:
            async for reading in subscription:
                self._take(reading)
        finally:
            subscription.close()

    def _take(self, reading: Reading) -> None:
        source = reading.source
        if reading.error is not None:
            self._failed(source, reading.error)
            return
        match reading.payload:
            case bytes():
                report = self._recorder.record_page(source, reading.payload, reading.at_ms)
                self._count(source, report)
            case SourceReading():
                samples = reading.payload.samples
                self._recorder.record_samples(source, samples, reading.at_ms)
                self.conditions[source] = reading.payload.conditions(source)
            case _:
                kind = type(reading.payload).__name__
                raise TypeError(f"source {source} gave a {kind}, which nobody records")
        self.first_reading.set()
        if self.problems.pop(source, None) is not None:
            _log.info("source_recovered source=%s", source)

    def _failed(self, source: str, error: str) -> None:
        self._recorder.scrape_failed(source)
        if source not in self.problems:
            _log.info("source_failed source=%s error=%r", source, error)
        self.problems[source] = error

    def _count(self, source: str, report: PageReport) -> None:
        skipped = sum(report.skipped.values())
        if skipped and source not in self.skipped_lines:
            reasons = ",".join(f"{reason}:{count}" for reason, count in report.skipped.items())
            _log.warning("lines_skipped source=%s lines=%d reasons=%s", source, skipped, reasons)
        if skipped:
            self.skipped_lines[source] = self.skipped_lines.get(source, 0) + skipped

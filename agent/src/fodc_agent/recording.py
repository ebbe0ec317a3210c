# SPDX-License-Identifier: Apache-2.0
"""Carries readings from the bus into the recorder.

The one idea: each source has its own task, so that one that fails is only one that fails; what is
wrong with it now is in `problems` until its next good reading. A reading that cannot be recorded,
whatever the reason, is counted in `failures` and is no reason to end (T-WD-18, W-04).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from fodc_agent.bus.coordinator import Coordinator, Reading
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.recorder.track import PageReport
from fodc_agent.scrape_figures import ScrapeFigures, cut_text, figures_source, is_page
from fodc_agent.sources.banyandb import Scrape
from fodc_agent.sources.configuration import ConfigurationReading
from fodc_agent.sources.readings import Gap, SourceReading

_log: Final = logging.getLogger(__name__)


class Recording:
    """Records sources; `problems` and `gaps` by source tell what is missing now.

    `failures` counts by source the readings that were good and could not be recorded. `on_return`
    is called when a page of the node is there again, `on_page` with each page: its source, the
    problem with it, empty for none, and how many questions had no answer, 0 where one came;
    `on_taken` with each reading when it was recorded.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        recorder: Recorder,
        *,
        on_change: Callable[[], None],
        on_return: Callable[[], None] = lambda: None,
    ) -> None:
        self._coordinator = coordinator
        self._recorder = recorder
        self._on_change = on_change
        self._on_return = on_return
        self.on_page: Callable[[str, str, int], None] = lambda _source, _problem, _silent: None
        self.on_taken: Callable[[Reading], None] = lambda _reading: None
        self.problems: dict[str, str] = {}
        self.failures: Counter[str] = Counter()
        self.gaps: dict[str, tuple[Gap, ...]] = {}
        self.configuration: ConfigurationReading | None = None
        self.answered: set[str] = set()
        """Sources of which a good reading was recorded at least once."""
        self.cuts: dict[str, str] = {}
        """Pages that were not read to their end, by source, with what was left out."""
        self._figures: dict[str, ScrapeFigures] = {}
        self._skipping: set[str] = set()

    async def record(self, source: str, interval_s: float) -> None:
        """Record one source for as long as it is collected."""
        await self._coordinator.keep(source, interval_s, self._take_or_note)

    async def _take_or_note(self, reading: Reading) -> None:
        try:
            await self._take(reading)
            self.on_taken(reading)
        except Exception as fault:  # noqa: BLE001 - logged, counted, named
            text = f"failed to forward metrics to the recorder: {type(fault).__name__}: {fault}"
            self.failures[reading.source] += 1
            if self.problems.get(reading.source) != text:
                _log.exception("recording_failed source=%s", reading.source)
            self._failed(reading.source, text)

    async def _take(self, reading: Reading) -> None:
        source, payload = reading.source, reading.payload
        match payload:
            case None:
                self._failed(source, reading.error or "no reading")
                if is_page(source):
                    self._record_silence(source, reading)
            case Scrape():
                await self._take_scrape(source, payload, reading)
            case SourceReading():
                self._recorder.record_samples(
                    source, payload.samples, reading.at_ms, reading.arrived_ms
                )
                self._note_gaps(source, payload.gaps)
                self._recovered(source)
            case ConfigurationReading():
                self.take_configuration(payload)
                self._recovered(source)
            case _:
                kind = type(payload).__name__
                raise TypeError(f"source {source} gave a {kind}, which nobody records")

    async def _take_scrape(self, source: str, scrape: Scrape, reading: Reading) -> None:
        report = None
        try:
            if scrape.body is None:
                self._failed(source, scrape.error, scrape.silent)
                return
            report = await self._stored(source, scrape.body, reading)
            self._note_skipped(source, report)
            self._note_cut(source, scrape, report)
            self._recovered(source)
        finally:
            self._record_figures(source, scrape, report, reading)

    async def _stored(self, source: str, body: bytes, reading: Reading) -> PageReport:
        """Store a page in steps of a few milliseconds, so that a huge one silences nobody."""
        steps = self._recorder.page_steps(source, body, reading.at_ms, reading.arrived_ms)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                report: PageReport = end.value
                return report
            await asyncio.sleep(0)

    def _record_figures(
        self, source: str, scrape: Scrape, report: PageReport | None, reading: Reading
    ) -> None:
        """Record how the scrape went, in a row of its own at the same time."""
        samples = self._figures_of(source).of_page(scrape, report)
        self._recorder.record_samples(
            figures_source(source), samples, reading.at_ms, reading.arrived_ms
        )

    def _record_silence(self, source: str, reading: Reading) -> None:
        samples = self._figures_of(source).of_silence()
        self._recorder.record_samples(
            figures_source(source), samples, reading.at_ms, reading.arrived_ms
        )

    def _figures_of(self, source: str) -> ScrapeFigures:
        return self._figures.setdefault(source, ScrapeFigures(source.rpartition(":")[2]))

    def take_configuration(self, reading: ConfigurationReading) -> None:
        """Take the newest reading, whoever asked for it."""
        known, self.configuration = self.configuration, reading
        if known is not None and known.hash != reading.hash:
            _log.info("configuration_changed epoch=%d hash=%s", reading.epoch, reading.hash[:12])
        if known is None or known.hash != reading.hash:
            self._on_change()

    def _note_gaps(self, source: str, gaps: tuple[Gap, ...]) -> None:
        if self.gaps.get(source) != gaps:
            for gap in gaps:
                _log.info(
                    "source_gap source=%s part=%s reason=%s message=%r",
                    source,
                    gap.part,
                    gap.reason,
                    gap.message,
                )
            self.gaps[source] = gaps
            self._on_change()

    def _recovered(self, source: str) -> None:
        is_first = source not in self.answered
        self.answered.add(source)
        if is_page(source):
            self.on_page(source, "", 0)
        if self.problems.pop(source, None) is not None:
            _log.info("source_recovered source=%s", source)
            self._on_change()
            if is_page(source):
                self._on_return()
        elif is_first and is_page(source):
            self._on_change()

    def _failed(self, source: str, error: str, silent: int = 0) -> None:
        self._recorder.scrape_failed(source)
        if is_page(source):
            self.on_page(source, error, silent)
        known = self.problems.get(source)
        self.problems[source] = error
        if known is None:
            _log.info("source_failed source=%s error=%r", source, error)
            self._on_change()

    def _note_cut(self, source: str, scrape: Scrape, report: PageReport) -> None:
        text = cut_text(scrape, report)
        if bool(text) != (source in self.cuts):
            _log.warning("page_cut source=%s what=%r", source, text or "no more")
            self._on_change()
        if text:
            self.cuts[source] = text
        else:
            self.cuts.pop(source, None)

    def _note_skipped(self, source: str, report: PageReport) -> None:
        skipped = sum(report.skipped.values())
        if skipped and source not in self._skipping:
            reasons = ",".join(f"{reason}:{count}" for reason, count in report.skipped.items())
            _log.warning("lines_skipped source=%s lines=%d reasons=%s", source, skipped, reasons)
        if skipped:
            self._skipping.add(source)
        else:
            self._skipping.discard(source)

# SPDX-License-Identifier: Apache-2.0
"""How the last scrape of a port went, as series of their own. Pure.

The one idea: these figures are the user's only sign of a bad page, so they are recorded with every
scrape, good or bad, at the time of that scrape, and travel like any other source (G-04, W-06).
"""

from collections import Counter
from dataclasses import field
from typing import Final

from fodc_agent.recorder.track import PageReport
from fodc_agent.sources.banyandb import UP, Scrape
from fodc_agent.sources.readings import Family, counter, gauge
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import Sample

SAMPLES: Final = gauge("fodc_agent_scrape_samples", "Series on the last page of this port.")
SKIPPED: Final = gauge(
    "fodc_agent_scrape_lines_skipped", "Lines of the last page that are no samples and were left."
)
DUPLICATES: Final = gauge(
    "fodc_agent_scrape_duplicates", "Samples of the last page that a later line replaced."
)
REFUSED: Final = gauge(
    "fodc_agent_scrape_samples_refused", "Samples of the last page beyond the limit of series."
)
UNREAD: Final = gauge(
    "fodc_agent_scrape_lines_unread",
    "New lines of the last page beyond what a page may bring anew; later pages bring them again.",
)
CUT: Final = gauge(
    "fodc_agent_scrape_cut", "1 when the last page was longer than is read of one, else 0."
)
SKIPPED_TOTAL: Final = counter(
    "fodc_agent_scrape_lines_skipped_total", "Lines left out so far, by what is wrong with them."
)
_PREFIX: Final = "metrics:"


def figures_source(source: str) -> str:
    """Return under which name the figures of a page are recorded: metrics:2121 → scrape:2121."""
    return f"scrape:{source.removeprefix(_PREFIX)}"


def is_page(source: str) -> bool:
    """Say whether a source is the page of a port."""
    return source.startswith(_PREFIX)


def cut_text(scrape: Scrape, report: PageReport) -> str:
    """Say what was left out of a page that was not read to its end, empty when nothing was."""
    if scrape.cut:
        size = len(scrape.body or b"")
        return f"the page is longer than is read of one: what lies beyond {size} bytes is left out"
    if report.unread:
        return f"{report.unread} lines are new and more than one page may bring: they are left out"
    return ""


@dataclass(slots=True)
class ScrapeFigures:
    """Figures of one port; lines that were skipped are counted up over all pages."""

    port: str
    skipped: Counter[str] = field(default_factory=Counter)

    def of_page(self, scrape: Scrape, report: PageReport | None) -> list[Sample]:
        """Return what is told after a scrape; `report` is None when no page was recorded."""
        if report is not None:
            self.skipped.update(report.skipped)
        cut = self._sample(CUT, int(scrape.cut))
        return [*scrape.health(), cut, *self._of_report(report), *self._so_far()]

    def of_silence(self) -> list[Sample]:
        """Return what is told when the scrape itself broke off."""
        return [self._sample(UP, 0), *self._of_report(None), *self._so_far()]

    def _of_report(self, report: PageReport | None) -> list[Sample]:
        return [
            self._sample(SAMPLES, report.series if report else 0),
            self._sample(SKIPPED, sum(report.skipped.values()) if report else 0),
            self._sample(DUPLICATES, report.duplicates if report else 0),
            self._sample(REFUSED, report.dropped if report else 0),
            self._sample(UNREAD, report.unread if report else 0),
        ]

    def _so_far(self) -> list[Sample]:
        return [
            SKIPPED_TOTAL.sample(count, ("port", self.port), ("reason", reason))
            for reason, count in sorted(self.skipped.items())
        ]

    def _sample(self, family: Family, value: float) -> Sample:
        return family.sample(value, ("port", self.port))

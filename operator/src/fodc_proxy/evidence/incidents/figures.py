# SPDX-License-Identifier: Apache-2.0
"""What the proxy tells of its incidents on its own page; pure."""

from collections import Counter
from collections.abc import Iterable

from fodc_api.words import IncidentCause, IncidentPhase
from fodc_proxy.evidence.incidents.book import Book
from fodc_proxy.telemetry import Figure, counter, gauge


def figures_of(book: Book, unstored: int) -> Iterable[Figure]:
    """Yield the families; every cause is there from the start, so that its first one counts."""
    phases = Counter(one.phase for one in book.all())
    shown = [((str(phase),), float(phases[phase])) for phase in IncidentPhase]
    opened = [((str(cause),), float(book.opened[cause])) for cause in IncidentCause]
    told = book.tally
    yield gauge("incidents", "Incidents that are kept.", shown, "phase")
    yield counter("incidents_opened", "Incidents that were opened.", opened, "cause")
    yield gauge("incidents_unstored", "Incidents that are not stored as they are.", unstored)
    text = "Occurrences that agents have numbered: delivered and gapped together."
    yield counter("occurrences_produced", text, told.produced)
    yield counter("occurrences_delivered", "Occurrences that are stored.", told.delivered)
    yield counter("occurrences_gapped", "Occurrences that never came.", told.gapped)

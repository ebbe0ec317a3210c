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
    causes = [((str(cause),), float(book.causes[cause])) for cause in IncidentCause]
    told = book.tally
    yield gauge("incidents", "Incidents that are kept.", shown, "phase")
    words = "Incidents that came to a cause; one that gets a stronger cause counts for both."
    yield counter("incident_causes", words, causes, "cause")
    yield gauge("incidents_unstored", "Incidents that are not stored as they are.", unstored)
    text = "Occurrences that agents have numbered: delivered and gapped together."
    yield counter("occurrences_produced", text, told.produced)
    yield counter("occurrences_delivered", "Occurrences that are stored.", told.delivered)
    yield counter("occurrences_gapped", "Occurrences that never came.", told.gapped)

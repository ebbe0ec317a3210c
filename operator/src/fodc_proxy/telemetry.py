# SPDX-License-Identifier: Apache-2.0
"""What the proxy tells of itself: families `fodc_proxy_*` on its page.

The one idea: what happens is counted and timed here by whoever sees it, what is so now is read
from the living objects when somebody asks (`Figures`).
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

from fodc_proxy import doors
from fodc_proxy.fleet.membership import Member

with doors.papered():  # for the server that this library has too
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Histogram,
        disable_created_metrics,
        generate_latest,
    )
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Figure: TypeAlias = GaugeMetricFamily | CounterMetricFamily
Figures: TypeAlias = Callable[[], Iterable[Figure]]
_Values: TypeAlias = float | Iterable[tuple[tuple[str, ...], float]]
PREFIX: Final = "fodc_proxy_"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

# `_created` samples would be families of their own, which nobody of our readers asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it


class _Reading:
    """Figures of the moment, as a collector of the library."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Figure]:
        """Return the families as they are now."""
        return self._figures()


class Telemetry:
    """The proxy's own families; one per proxy, so that two in one process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._peers = self._counter(
            "peer_refused", "Messages of peers that broke a bound of the contract.", "reason"
        )
        self._families = self._counter(
            "family_refused", "Metric families of agents that were not sound.", "reason"
        )
        self._samples = self._counter(
            "samples_dropped", "Samples of agents that would have been sent twice.", "reason"
        )
        self._requests = self._histogram(
            "http_request_seconds", "Time until an HTTP request was answered.", "route", "code"
        )
        self._rounds = self._histogram(
            "round_seconds", "Time until a collection from the fleet ended.", "kind"
        )
        self._rpcs = self._histogram(
            "rpc_seconds", "Time from a query to one agent to its whole answer.", "contract", "kind"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(PREFIX + name, text, labels, buckets=_SECONDS, registry=self._registry)

    # ---- told -----------------------------------------------------------------------------------

    def peer_refused(self, reason: str) -> None:
        """Count a message that broke a bound."""
        self._peers.labels(reason).inc()

    def family_refused(self, reason: str) -> None:
        """Count a family that was left out of a page."""
        self._families.labels(reason).inc()

    def samples_dropped(self, number: int, reason: str = "Duplicate") -> None:
        """Count samples that were left out of a page."""
        self._samples.labels(reason).inc(number)

    def request_took(self, route: str, code: int, seconds: float) -> None:
        """Note how long an HTTP request took; `route` is the path's pattern."""
        self._requests.labels(route, str(code)).observe(seconds)

    def round_took(self, kind: str, seconds: float) -> None:
        """Note how long a collection took."""
        self._rounds.labels(kind).observe(seconds)

    def rpc_took(self, contract: str, kind: str, seconds: float) -> None:
        """Note how long one agent took to answer."""
        self._rpcs.labels(contract, kind).observe(seconds)

    # ---- asked ----------------------------------------------------------------------------------

    def watch(self, figures: Figures) -> None:
        """Show these families too, read anew for each page."""
        self._registry.register(_Reading(figures))

    def page(self) -> bytes:
        """Return all own families in the text format of Prometheus."""
        return bytes(generate_latest(self._registry))


def gauge(name: str, text: str, values: _Values, *labels: str) -> GaugeMetricFamily:
    """Return a gauge: one number, or numbers by the values of `labels`."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for told, value in _each(values):
        family.add_metric(list(told), value)
    return family


def counter(name: str, text: str, values: _Values, *labels: str) -> CounterMetricFamily:
    """Return a counter; its samples end in `_total`."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for told, value in _each(values):
        family.add_metric(list(told), value)
    return family


def _each(values: _Values) -> Iterable[tuple[tuple[str, ...], float]]:
    return [((), values)] if isinstance(values, int | float) else values


def fleet_figures(members: Iterable[Member]) -> GaugeMetricFamily:
    """Return how many agents there are, by phase, contract and role."""
    counts = Tally((str(m.phase), str(m.contract), m.role) for m in members)
    values = sorted(counts.items())
    return gauge("agents", "Agents by phase.", values, "phase", "contract", "node_role")


def resident_bytes() -> int:
    """Return the resident memory of this process, 0 where it cannot be read."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * 4096

# SPDX-License-Identifier: Apache-2.0
"""Builds the history of configurations over the proxy's parts, and its figures."""

from collections.abc import Callable, Iterable

from fodc_proxy.captures.assembly import Diagnostics
from fodc_proxy.evidence.configurations.keeping import StoredSnapshots
from fodc_proxy.evidence.configurations.watch import Configurations
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.telemetry import Figure, counter, gauge


def assemble(
    kept: Diagnostics, registry: Registry, rounds: Rounds, *, clock_ms: Callable[[], int]
) -> Configurations:
    """Return the configurations of the fleet; nothing is asked or read yet."""
    engine = kept.engine
    store = StoredSnapshots(kept.store, kept.partials)
    return Configurations(
        registry, rounds, store, is_open=lambda: engine.is_open, clock_ms=clock_ms
    )


def figures_of(told: Configurations) -> Iterable[Figure]:
    """Yield how nodes differ, and how the keeping goes."""
    nodes = [
        ((namespace, pod), float(len(names)))
        for address, names in sorted(told.drifting().items())
        for namespace, _, pod in [address.rpartition("/")]
    ]
    text = "Settings in which a node differs from the most of its role and tier."
    yield gauge("configuration_drift", text, nodes, "namespace", "pod_name")
    yield gauge("configurations_unstored", "Snapshots that are not stored yet.", told.unkept)
    yield counter("configuration_changes", "Changes of nodes' settings.", told.changed)

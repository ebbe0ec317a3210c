# SPDX-License-Identifier: Apache-2.0
"""Puts the incidents of a proxy together."""

from collections.abc import Callable
from dataclasses import replace

from fodc_proxy.captures.assembly import Diagnostics
from fodc_proxy.evidence.incidents.engine import Incidents
from fodc_proxy.evidence.incidents.records import dump_incident, load_incident
from fodc_proxy.evidence.incidents.retention import IncidentRetention
from fodc_proxy.evidence.keeping import LogKeeper
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.storage import names
from fodc_proxy.storage.records import Records


def assemble(
    kept: Diagnostics,
    registry: Registry,
    retention: IncidentRetention,
    *,
    clock_ms: Callable[[], int],
) -> Incidents:
    """Build the incidents of a proxy beside its diagnostics."""
    # Half of the store at most: what people capture has to have room too.
    bounded = replace(retention, max_bytes=min(retention.max_bytes, kept.store.max_bytes // 2))
    return Incidents(
        registry=registry,
        engine=kept.engine,
        store=kept.store,
        records=Records(kept.objects, dump_incident, load_incident, names.INCIDENTS),
        logs=LogKeeper(kept.store, kept.partials, clock_ms),
        retention=bounded,
        clock_ms=clock_ms,
    )

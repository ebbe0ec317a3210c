# SPDX-License-Identifier: Apache-2.0
"""The last incident of a node as its FodcNode shows it, and what an Event says of it; pure."""

from collections.abc import Iterable
from typing import Any

from fodc_kube.conditions import Happened
from fodc_kube.texts import count, cut, time_of
from fodc_proxy.evidence.incidents.model import Incident


def last_of(incidents: Iterable[Incident]) -> Incident | None:
    """Return the incident that is the latest by what was told of it."""
    return max(incidents, key=lambda one: (one.last_at_ms, one.id), default=None)


def shown(incident: Incident) -> dict[str, Any]:
    """Return `status.lastIncident`; every key always, because a merge patch goes into objects."""
    return {
        "id": incident.id,
        "cause": str(incident.cause),
        "phase": str(incident.phase),
        "message": cut(incident.message, 512),
        "count": count(incident.count),
        "artifacts": count(len(incident.artifact_ids)),
        "firstTime": time_of(incident.first_at_ms),
        "lastTime": time_of(incident.last_at_ms),
    }


def event_of(incident: Incident) -> Happened:
    """Return what people are told of an incident."""
    words = f"{incident.message}; see: fodc incidents show {incident.id}"
    return Happened(str(incident.cause), words, is_warning=True)

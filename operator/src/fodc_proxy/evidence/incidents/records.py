# SPDX-License-Identifier: Apache-2.0
"""Incidents as stored JSON, and back."""

from dataclasses import dataclass
from typing import Final

import msgspec

from fodc_api.values import is_request_id
from fodc_proxy.evidence.incidents.model import Incident
from fodc_proxy.storage.documents import RecordError, dump_document, load_document

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class _Document:
    version: int
    incident: Incident


_READER: Final = msgspec.json.Decoder(_Document)


def dump_incident(incident: Incident) -> bytes:
    """Write an incident as UTF-8 JSON; raises RecordError for a text that is no Unicode."""
    return dump_document(_Document(VERSION, incident), f"incident {incident.id}")


def load_incident(data: bytes) -> Incident:
    """Read what `dump_incident` wrote; raises RecordError."""
    incident = load_document(data, _READER, VERSION).incident
    if not incident.causes or not is_request_id(incident.id):
        raise RecordError("record cannot be read: it has no id or no cause")
    return incident

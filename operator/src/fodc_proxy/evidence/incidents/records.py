# SPDX-License-Identifier: Apache-2.0
"""Incidents as stored JSON, and back: strict, so that nothing odd comes back to life."""

from dataclasses import dataclass
from typing import Final

import msgspec

from fodc_api.values import is_request_id
from fodc_protocol.errors import FodcError, Reason
from fodc_proxy.evidence.incidents.model import Incident

VERSION: Final = 1


class IncidentRecordError(FodcError):
    """A stored record is damaged or of another version."""

    default_reason = Reason.STORAGE_FAILED


@dataclass(frozen=True, slots=True)
class _Document:
    version: int
    incident: Incident


_READER: Final = msgspec.json.Decoder(_Document)


def dump_incident(incident: Incident) -> bytes:
    """Write an incident as UTF-8 JSON; raises IncidentRecordError for a text that is no Unicode."""
    try:
        return msgspec.json.encode(_Document(VERSION, incident))
    except UnicodeEncodeError as error:
        words = f"incident {incident.id} holds a text that is no Unicode"
        raise IncidentRecordError(words) from error


def load_incident(data: bytes) -> Incident:
    """Read what `dump_incident` wrote; raises IncidentRecordError."""
    try:
        document = _READER.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise IncidentRecordError(f"record cannot be read: {str(error)[:200]}") from None
    incident = document.incident
    if document.version != VERSION:
        raise IncidentRecordError(f"record is of version {document.version}, not {VERSION}")
    if not incident.causes or not is_request_id(incident.id):
        raise IncidentRecordError("record cannot be read: it has no id or no cause")
    return incident

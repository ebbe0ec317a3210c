# SPDX-License-Identifier: Apache-2.0
"""Writes the status of DiagnosticRequests, and the Events that a change is worth.

The one idea: a write names the version that it is about, so it never lands on an object made anew
under the same name nor on what somebody else wrote meanwhile, and it carries only what differs.
(The uid would be no guard: the path of the status takes no notice of it.)
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from fodc_kube.errors import ClusterError, ConflictError, InvalidError, NotFoundError
from fodc_kube.events import Events, reference
from fodc_operator.diagnostics import auditing, status, transitions
from fodc_operator.diagnostics.ports import Cluster, Meter
from fodc_operator.resources.diagnostic_request import Identity, Key, version_of
from fodc_operator.resources.kinds import DIAGNOSTIC_REQUEST

KIND = DIAGNOSTIC_REQUEST
_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a write."""

    WRITTEN = "Written"
    CHANGED = "Changed"
    """The object has changed, or is gone: read it again."""
    LATER = "Later"
    """The server could not take it now."""
    REFUSED = "Refused"
    """The server does not take it at all."""


@dataclass(frozen=True, slots=True)
class Write:
    """Outcome of a write, and the object's version after it when it was written."""

    outcome: Outcome
    version: int = 0
    is_whole: bool = True
    """Whether all of it was taken, rather than what any schema takes."""


class Writer:
    """Carries statuses to the API server."""

    def __init__(self, cluster: Cluster, events: Events, meter: Meter) -> None:
        self._cluster = cluster
        self._events = events
        self._meter = meter

    async def write(
        self,
        identity: Identity,
        version: int,
        before: Mapping[str, object],
        after: Mapping[str, object],
    ) -> Write:
        """Make the object's status `after`; says what became of it and never raises."""
        write = await self._send(identity.key, version, status.merge_patch(before, after))
        if write.outcome is Outcome.REFUSED:
            # Another version of the schema: what people wait for is still told.
            plain = status.merge_patch(before, status.without_details(after))
            write = replace(await self._send(identity.key, version, plain), is_whole=False)
        if write.outcome is Outcome.WRITTEN:
            self._tell(identity, before, after)
        return write

    async def _send(self, key: Key, version: int, patch: Mapping[str, object]) -> Write:
        try:
            written = await self._cluster.patch_status(
                KIND, key.namespace, key.name, {"status": patch}, str(version)
            )
        except (NotFoundError, ConflictError) as error:
            self._meter.wrote(str(error.status))
            return Write(Outcome.CHANGED)
        except InvalidError as error:
            _log.error("status of %s is refused: %s", key, error.message)
            self._meter.wrote(str(error.status))
            return Write(Outcome.REFUSED)
        except ClusterError as error:
            _log.warning("status of %s is not written yet: %s", key, error.message)
            self._meter.wrote(str(error.status or "unreachable"))
            return Write(Outcome.LATER)
        self._meter.wrote("ok")
        return Write(Outcome.WRITTEN, version_of(written))

    def _tell(
        self, identity: Identity, before: Mapping[str, object], after: Mapping[str, object]
    ) -> None:
        key = identity.key
        about = reference(KIND, key.namespace, key.name, identity.uid)
        people = transitions.People(auditing.who(identity), identity.cancelled_by)
        for happened in transitions.between(before, after, people):
            self._events.tell(about, happened)

    async def delete(self, identity: Identity) -> Outcome:
        """Delete the object if it is still the one meant; never raises."""
        key = identity.key
        try:
            found = await self._cluster.get(KIND, key.namespace, key.name)
            if found is None or _uid(found) != identity.uid:
                return Outcome.CHANGED
            version = found["metadata"]["resourceVersion"]
            await self._cluster.delete(KIND, key.namespace, key.name, resource_version=version)
        except ClusterError as error:
            _log.warning("%s is not deleted yet: %s", key, error.message)
            return Outcome.LATER
        return Outcome.CHANGED

    async def find(self, key: Key) -> dict[str, Any] | None:
        """Return the object as it is now, None when there is none; raises ClusterError."""
        return await self._cluster.get(KIND, key.namespace, key.name)


def _uid(body: Mapping[str, Any]) -> str:
    return str(body["metadata"].get("uid", ""))

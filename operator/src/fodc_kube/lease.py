# SPDX-License-Identifier: Apache-2.0
"""One leader among the replicas, by a Lease.

The one idea: times are monotonic and count from before a call is sent, so whatever hangs, this
replica stops counting the lease as its own before anybody else may take it. An API server that is
away takes nobody's leadership: what must not happen meanwhile is a write, and that `is_held` says;
leadership ends when another is seen to have it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, Object
from fodc_kube.errors import ClusterError
from fodc_kube.lease_settings import LeaseSettings

RELEASE_S: Final = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sighting:
    """The lease as this replica saw it last, and when it runs out by its own clock."""

    renewed: str
    ends_s: float


class Leadership:
    """This replica's part in the election: `acquire`, then `hold`, at the end `release`."""

    def __init__(
        self,
        settings: LeaseSettings,
        cluster: Cluster,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.leads = False
        self.holder = ""
        """Who leads, as far as this replica has seen; empty when nobody does."""
        self._cluster = cluster
        self._clock_s = clock_s
        self._ours: Object | None = None
        self._renewed_s = float("-inf")
        self._seen = _Sighting("", float("-inf"))
        self._is_told = False

    @property
    def is_held(self) -> bool:
        """Whether the lease is certainly ours now: then this replica may write."""
        return self.leads and self._clock_s() - self._renewed_s < self.settings.renew_s

    def fence(self) -> str:
        """Return why nothing may be written now, empty when it may."""
        if self.is_held:
            return ""
        return f"lease {self.settings.name} was not renewed in time, so another may lead"

    async def acquire(self) -> None:
        """Return when this replica leads."""
        _log.info("stands by for lease %s as %s", self.settings.name, self.settings.identity)
        while True:
            if await self._attempt():
                break
            await asyncio.sleep(self._pause_s())
        self.leads = True
        _log.info("leads: lease %s is held by %s", self.settings.name, self.settings.identity)

    async def hold(self) -> None:
        """Renew, however long that fails; returns when another was seen to lead."""
        while True:
            await asyncio.sleep(self.settings.retry_s)
            await self._attempt()
            if self.holder != self.settings.identity:
                self.leads = False
                _log.error("lost lease %s to %r", self.settings.name, self.holder)
                return
            self._tell()

    async def release(self) -> None:
        """Give the lease back if it is ours; a failure costs the next leader some seconds."""
        if not self.leads:
            return
        self.leads, given = False, False
        try:
            async with asyncio.timeout(RELEASE_S):
                given = await self._give_back()
        except (TimeoutError, ClusterError) as error:
            _log.debug("lease %s: %s", self.settings.name, error)
        _log.info("lease %s %s", self.settings.name, "given back" if given else "left to run out")

    # ---- one attempt --------------------------------------------------------------------------

    async def _attempt(self) -> bool:
        """Take or renew the lease; say whether it is ours, by what the server answered in time."""
        began_s = self._clock_s()
        try:
            async with asyncio.timeout(self.settings.attempt_s):
                is_ours = await self._take_or_renew()
        except (TimeoutError, ClusterError) as error:
            # Whether a write arrived is not known: the next attempt reads first.
            self._ours = None
            said = str(error) or f"no answer within {self.settings.attempt_s:g} s"
            _log.warning("lease %s not renewed: %s", self.settings.name, said)
            return False
        if is_ours:
            self._renewed_s = began_s
        return is_ours

    async def _take_or_renew(self) -> bool:
        place = (kinds.LEASE, self.settings.namespace, self.settings.name)
        found = self._ours or await self._cluster.get(*place)
        self._note(found)
        if found is None:
            body = {"metadata": {"name": self.settings.name}, "spec": self._held({})}
            self._ours = await self._cluster.create(*place[:2], body)
        elif self._may_take(found):
            body = {**found, "spec": self._held(_spec(found))}
            self._ours = await self._cluster.replace(*place, body)
        else:
            return False
        self._note(self._ours)
        return True

    def _may_take(self, found: Object) -> bool:
        """Say whether it is ours, or free; never another's that has not run out."""
        holder = _spec(found).get("holderIdentity")
        if holder == self.settings.identity:
            return True
        if self.leads:
            return False  # another has had it meanwhile, and may have given it back
        return not holder or self._clock_s() >= self._seen.ends_s

    def _note(self, found: Object | None) -> None:
        """Remember who holds it and since when it was seen so; a missing one is nobody's."""
        if found is None:
            return
        spec = _spec(found)
        self.holder = str(spec.get("holderIdentity") or "")
        renewed = f"{self.holder} {spec.get('renewTime')}"
        if renewed != self._seen.renewed:
            lasts_s = float(spec.get("leaseDurationSeconds") or self.settings.duration_s)
            self._seen = _Sighting(renewed, self._clock_s() + lasts_s)

    def _pause_s(self) -> float:
        """Until the next look: the usual pause, but not past the end of the lease."""
        left_s = self._seen.ends_s - self._clock_s() + 0.01 if self.holder else 0.0
        return min(self.settings.retry_s, left_s) if left_s > 0 else self.settings.retry_s

    def _held(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        found = dict(spec)
        if found.get("holderIdentity") != self.settings.identity:
            found["acquireTime"] = now
            found["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + bool(spec)
        return {
            **found,
            "holderIdentity": self.settings.identity,
            "leaseDurationSeconds": round(self.settings.duration_s),
            "renewTime": now,
        }

    async def _give_back(self) -> bool:
        place = (kinds.LEASE, self.settings.namespace, self.settings.name)
        found = self._ours or await self._cluster.get(*place)
        if found is None or _spec(found).get("holderIdentity") != self.settings.identity:
            return False
        spec = {**self._held(_spec(found)), "holderIdentity": "", "leaseDurationSeconds": 1}
        await self._cluster.replace(*place, {**found, "spec": spec})
        return True

    def _tell(self) -> None:
        """Say once that writing has stopped, and once that it goes on."""
        if self.is_held == self._is_told:
            return
        self._is_told = self.is_held
        if self.is_held:
            _log.info("lease %s is renewed", self.settings.name)
        else:
            told = "%s; agents and people are served, nothing is written until it is renewed"
            _log.error(told, self.fence())


def _spec(lease: Mapping[str, Any]) -> Mapping[str, Any]:
    found = lease.get("spec")
    return found if isinstance(found, Mapping) else {}

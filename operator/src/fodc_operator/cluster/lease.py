# SPDX-License-Identifier: Apache-2.0
"""One leader among the replicas, by a Lease.

The one idea: the election is the client library's; ours is that every attempt has a deadline, that
a broken connection is a failed attempt and no crash, that a standby takes over in the moment in
which the lease runs out, and that a leader who stops gives the lease back.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
from kubernetes.aio.client import ApiClient, V1Lease, V1LeaseSpec, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from fodc_protocol.errors import BadRequestError

RELEASE_S: Final = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Which lease and its times in seconds; raises BadRequestError by flag name."""

    name: str
    namespace: str
    identity: str
    duration_s: float = 15.0
    renew_s: float = 10.0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration_s > self.renew_s > 1.2 * self.retry_s:
            raise BadRequestError(
                "--lease-duration must be greater than --lease-renew, and that greater than 1.2 "
                f"times --lease-retry ({self.duration_s:g}s, {self.renew_s:g}s, {self.retry_s:g}s)"
            )
        if self.retry_s < 1:
            raise BadRequestError("--lease-retry must be at least 1s")

    @property
    def attempt_s(self) -> float:
        """How long one attempt may take: the lease must not run out before its loss is noticed."""
        return min(self.retry_s, self.duration_s - self.renew_s)


class _Lock(LeaseLock):
    """The library's lock with deadlines, with times in UTC and with a `create` that works."""

    def __init__(self, settings: LeaseSettings, api: ApiClient) -> None:
        super().__init__(settings.name, settings.namespace, settings.identity, api)
        self._settings = settings

    async def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        """Read the lease; a broken connection is told like a refusal."""
        try:
            async with asyncio.timeout(self._settings.attempt_s):
                return await super().get(name, namespace)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return False, ApiException(status=0, reason=f"{type(error).__name__}: {error}")

    async def create(
        self,
        name: str,
        namespace: str,
        election_record: LeaderElectionRecord,  # noqa: ARG002 - its times are local, ours are UTC
    ) -> bool:
        """Create the lease as ours."""
        spec = self._held(V1LeaseSpec(), taken=True)
        body = V1Lease(metadata=V1ObjectMeta(name=name), spec=spec)
        return await self._written(
            lambda: self.api_instance.create_namespaced_lease(namespace, body)
        )

    async def update(
        self,
        name: str,
        namespace: str,
        updated_record: LeaderElectionRecord,  # noqa: ARG002 - as above
    ) -> bool:
        """Renew or take the lease, unless somebody changed it since it was read."""
        lease = self.lease_reference
        if lease is None:
            return False
        spec = lease.spec or V1LeaseSpec()
        lease.spec = self._held(spec, taken=spec.holder_identity != self.identity)
        return await self._written(
            lambda: self.api_instance.replace_namespaced_lease(name, namespace, lease)
        )

    async def release(self) -> bool:
        """Give the lease back: the next candidate need not wait for its end."""
        held, _ = await self.get(self.name, self.namespace)
        lease = self.lease_reference
        if not held or lease is None:
            return False
        spec = lease.spec
        if spec is None or spec.holder_identity != self.identity:
            return False
        spec.holder_identity = ""
        spec.lease_duration_seconds = 1
        spec.renew_time = datetime.now(UTC)
        return await self._written(
            lambda: self.api_instance.replace_namespaced_lease(self.name, self.namespace, lease)
        )

    def _held(self, spec: V1LeaseSpec, *, taken: bool) -> V1LeaseSpec:
        now = datetime.now(UTC)
        if taken:
            spec.acquire_time = now
            spec.lease_transitions = (spec.lease_transitions or 0) + bool(spec.renew_time)
        spec.renew_time = now
        spec.holder_identity = self.identity
        spec.lease_duration_seconds = round(self._settings.duration_s)
        return spec

    async def _written(self, send: Callable[[], Awaitable[object]]) -> bool:
        try:
            async with asyncio.timeout(self._settings.attempt_s):
                await send()
        except (ApiException, TimeoutError, aiohttp.ClientError, OSError) as error:
            said = error.reason if isinstance(error, ApiException) else f"{error}"
            _log.warning("lease %s not written: %s %s", self.name, type(error).__name__, said)
            return False
        return True


class _Election(LeaderElection):
    """The library's election, with a standby that wakes when the lease ends."""

    async def acquire(self) -> bool:
        """Return when the lease is ours."""
        while True:
            if await self.try_acquire_or_renew():
                return True
            await asyncio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        """Until the next look: the usual pause, but not past the end of the lease."""
        config = self.election_config
        ends_s = self.observed_time_milliseconds / 1000 + config.lease_duration
        left_s = ends_s - time.time() + 0.01
        return float(min(config.retry_period, left_s) if left_s > 0 else config.retry_period)


async def _nothing() -> None:
    """The election wants a coroutine to run; what leads is run by our runtime."""


class Leadership:
    """This replica's part in the election: `acquire`, then `hold`, at the end `release`."""

    def __init__(self, settings: LeaseSettings, api: ApiClient) -> None:
        self.settings = settings
        self.leads = False
        self.since_ms = 0
        self._lock = _Lock(settings, api)
        self._election = _Election(
            Config(
                self._lock,
                lease_duration=settings.duration_s,
                renew_deadline=settings.renew_s,
                retry_period=settings.retry_s,
                onstarted_leading=_nothing,
                onstopped_leading=_nothing,
            )
        )

    @property
    def holder(self) -> str:
        """Who leads, as far as this replica has seen; empty when nobody does."""
        seen = self._election.observed_record
        return str(seen.holder_identity or "") if seen is not None else ""

    async def acquire(self) -> None:
        """Return when this replica leads."""
        _log.info("stands by for lease %s as %s", self.settings.name, self.settings.identity)
        await self._election.acquire()
        self.leads, self.since_ms = True, time.time_ns() // 1_000_000
        _log.info("leads: lease %s is held by %s", self.settings.name, self.settings.identity)

    async def hold(self) -> None:
        """Renew until that fails for `renew_s`; returns when the lease is lost."""
        await self._election.renew_loop()
        self.leads = False
        _log.error("lost lease %s", self.settings.name)

    async def release(self) -> None:
        """Give the lease back if it is ours; a failure costs the next leader some seconds."""
        if not self.leads:
            return
        self.leads = False
        try:
            async with asyncio.timeout(RELEASE_S):
                given = await self._lock.release()
        except TimeoutError:
            given = False
        _log.info("lease %s %s", self.settings.name, "given back" if given else "left to run out")

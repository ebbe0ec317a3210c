# SPDX-License-Identifier: Apache-2.0
"""The only place that wires: the proxy, leadership, the mirror, diagnostics, injection and kopf.

The one idea: a replica answers probes from the start and does the rest only while it leads. What
must go on is begun again when it ends; only another leader ends the program. While the API server
is away nothing is written, by a fence before each write, and agents and people are served on.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from fodc_api.proxy import Check
from fodc_kube.access import bearer_of
from fodc_kube.client import Cluster
from fodc_kube.events import Events
from fodc_kube.keeping import keep
from fodc_kube.leader_label import LeaderLabel
from fodc_kube.lease import Leadership
from fodc_operator import telemetry
from fodc_operator.diagnostics.controller import Controller
from fodc_operator.diagnostics.pace import Pace
from fodc_operator.handlers import diagnostics as diagnostics_handlers
from fodc_operator.handlers.bridge import Bridge
from fodc_operator.handlers.thread import Access, HandlersThread
from fodc_operator.injection.certificate_keeper import Fault
from fodc_operator.injection.service import InjectionService
from fodc_operator.mirror.captures import Captures
from fodc_operator.mirror.writer import Mirror, MirrorSettings
from fodc_operator.settings import PROGRAM, Settings
from fodc_protocol.metrics.samples import Sample
from fodc_proxy.captures.model import Request
from fodc_proxy.runtime import Host, Proxy

STOP_S: Final = 6.0
_log = logging.getLogger(__name__)


class Ended(Exception):  # noqa: N818 - not a fault of its own, it names what ended
    """Something that must go on while this replica leads has ended; the text says what."""


class Operator:
    """One replica: build, then `run` in the same event loop."""

    def __init__(self, settings: Settings, api: ApiClient) -> None:
        self._settings = settings
        self._api = api
        server = Cluster(api, manager=PROGRAM, identity=settings.lease.identity)
        self.leadership = Leadership(settings.lease, server)
        self.cluster = server.fenced(self.leadership.fence)
        self.events = Events(server)
        self.ends: Counter[str] = Counter()
        """How often what must go on has ended, by name."""
        self.proxy = Proxy(settings.proxy, self._host())
        self._label = LeaderLabel(
            server, settings.own_namespace, settings.pod_name, settings.leader_label
        )
        self._captures = Captures()
        self.mirror = Mirror(
            self.cluster,
            self.proxy.registry,
            MirrorSettings(
                settings.own_namespace, settings.namespaces, settings.writes, settings.patience
            ),
            running=self._captures.running,
        )
        engine = self.proxy.diagnostics.engine
        self.requests = Controller(
            self.cluster,
            engine,
            self.proxy.registry,
            self.events,
            home_namespace=settings.own_namespace,
            namespaces=settings.namespaces,
            pace=Pace(grace_ms=settings.patience.grace_ms),
        )
        engine.subscribe(self._request_changed)
        self.injection = self._injection()
        self._bridge = Bridge(asyncio.get_running_loop())
        self._handlers = self._handlers_thread()
        self._tasks: list[asyncio.Task[None]] = []
        self._holding: asyncio.Task[None] | None = None

    def _host(self) -> Host:
        return Host(self._checks, self._samples, self._stands_by, elected=True)

    def _handlers_thread(self) -> HandlersThread:
        thread = HandlersThread(self._access, self._settings.namespaces)
        diagnostics_handlers.register(thread.registry, self.requests, self._bridge)
        return thread

    def _injection(self) -> InjectionService | None:
        told = self._settings.injection
        if told is None:
            return None
        return InjectionService(self.cluster, self.events, told, captures=self._is_captured)

    def _is_captured(self, address: str) -> bool:
        return bool(self._captures.running(address))

    def _access(self) -> Access:
        found = self._api.configuration
        return Access(
            found.host,
            found.ssl_ca_cert or "",
            bearer_of(found),
            found.cert_file or "",
            found.key_file or "",
            insecure=not found.verify_ssl,
        )

    # ---- what it tells of itself --------------------------------------------------------------

    def _checks(self) -> Iterator[Check]:
        lease = self.leadership
        holder = f"; {lease.holder} leads" if lease.holder and not lease.leads else ""
        message = "leads" if lease.leads else f"stands by{holder}"
        if lease.leads and lease.fence():
            message = f"leads and writes nothing: {lease.fence()}"
        yield Check("leader", lease.leads or self._stands_by(), message)
        if self.injection is not None:
            yield self._webhook_check(self.injection)

    def _webhook_check(self, injection: InjectionService) -> Check:
        """Take a broken webhook out of its Service, but never the leader out of the proxy's.

        Readiness is one word for a whole pod. A standby has nothing else to offer, so it says no,
        and API servers ask the others. The leader is the only one who serves agents and people,
        whom its silence would cost more than the pods that are reported as missed.
        """
        fault = injection.fault
        if fault == Fault():
            return Check("webhook", ok=True, message=f"answers on {injection.address}")
        if not self.leadership.leads:
            return Check("webhook", ok=False, message=fault.message)
        kept = "this replica stays ready, because it leads and agents and people need it"
        return Check("webhook", ok=True, message=f"DOES NOT WORK: {fault.message}; {kept}")

    def _stands_by(self) -> bool:
        """Say whether another replica leads: then this one is ready, for all that it has to do."""
        return bool(self.leadership.holder) and not self.leadership.leads

    def _samples(self) -> Iterator[Sample]:
        yield from telemetry.leadership_samples(leads=self.leadership.leads)
        if self.leadership.leads:
            yield from telemetry.mirror_samples(self.mirror)
            yield from self.requests.samples()
        if self.injection is not None:
            yield from self.injection.samples()
        yield from telemetry.call_samples(self.cluster.metrics)
        yield from telemetry.keeping_samples(self.ends, self.events.dropped)

    def _request_changed(self, request: Request) -> None:
        self.mirror.pods_changed(self._captures.note(request))

    # ---- life ---------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Answer probes and API servers; raises OSError for an address that cannot be had."""
        await self.proxy.listen()
        if self.injection is not None:
            try:
                await self.injection.listen()
            except BaseException:
                await self.proxy.stop()
                raise

    async def run(self, asked_to_stop: asyncio.Event) -> int:
        """Stand by, lead, and end; return 0 when asked to end, 1 when something ended it.

        Raises OSError or FodcError when this replica leads and cannot serve.
        """
        # A leader that was killed left its label on the pod.
        await self._label.remove()
        self._keep("events", self.events.run)
        if self.injection is not None:
            self._keep("injection", self.injection.run)
        stop = asyncio.create_task(_waited(asked_to_stop), name="stop")
        leading = asyncio.create_task(self._lead(), name="lead")
        try:
            await asyncio.wait([stop, leading], return_when=asyncio.FIRST_COMPLETED)
            if leading.done():
                leading.result()
        except Ended as ended:
            _log.error("the operator ends: %s", ended)
            return 1
        finally:
            for task in (stop, leading):
                task.cancel()
            await asyncio.gather(stop, leading, return_exceptions=True)
            await self._stop()
        return 0

    async def _lead(self) -> None:
        """Lead until another does; always raises."""
        await self.leadership.acquire()
        self._holding = asyncio.create_task(self.leadership.hold(), name="lease")
        await self.proxy.serve()
        for request in self.proxy.diagnostics.engine.select():
            self._captures.note(request)
        self._begin(self._label.set_until_done(), "leader-label")
        self._keep("mirror", self.mirror.run)
        self._keep("diagnostic-requests", self.requests.run)
        self._keep("handlers", self._handlers.run)
        if self.injection is not None:
            self._keep("injection-leader", self.injection.lead)
        await self._holding
        raise Ended(f"lease {self._settings.lease.name} was lost; another replica leads")

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._begin(keep(name, work, self.ends), name)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _stop(self) -> None:
        """End everything, agents first, the lease last: nobody else leads before we are done."""
        began = time.monotonic()
        self._bridge.close()
        for task in self._tasks:
            task.cancel()
        webhook = _nothing() if self.injection is None else self.injection.stop()
        ends = (self._label.remove(), self.proxy.stop(), webhook)
        try:
            async with asyncio.timeout(STOP_S):
                ended = await asyncio.gather(*ends, *self._tasks, return_exceptions=True)
            for error in ended[: len(ends)]:
                if isinstance(error, BaseException):
                    _log.error("while stopping", exc_info=error)
        except TimeoutError:
            _log.error("not everything has ended after %g s", STOP_S)
        if self._holding is not None:
            self._holding.cancel()
            await asyncio.gather(self._holding, return_exceptions=True)
        await self.leadership.release()
        _log.info("stopped in %.1f s", time.monotonic() - began)


async def _waited(event: asyncio.Event) -> None:
    await event.wait()


async def _nothing() -> None:
    """There is nothing to end."""

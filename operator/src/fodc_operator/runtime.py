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
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from fodc_api.proxy import Check
from fodc_kube.access import access_of
from fodc_kube.client import Cluster
from fodc_kube.conditions import Condition
from fodc_kube.events import Events, reference
from fodc_kube.keeping import keep
from fodc_kube.leader_label import LeaderLabel
from fodc_kube.lease import Leadership
from fodc_operator import telemetry
from fodc_operator.access import certificates
from fodc_operator.access.access_reviews import ClusterAccessReviews
from fodc_operator.access.token_reviews import ClusterTokenReviews
from fodc_operator.diagnostics.controller import Controller
from fodc_operator.diagnostics.pace import Pace
from fodc_operator.handlers import nodes, policies, requests
from fodc_operator.handlers.bridge import Bridge
from fodc_operator.handlers.thread import HandlersThread
from fodc_operator.incidents import showing
from fodc_operator.incidents.watcher import PodWatcher
from fodc_operator.mirror.captures import Captures
from fodc_operator.mirror.writer import Mirror, MirrorSettings
from fodc_operator.policies import certificate_state
from fodc_operator.policies.certificate_keeper import Fault
from fodc_operator.policies.service import Policies
from fodc_operator.resources.kinds import FODC_NODE
from fodc_operator.settings import PROGRAM, Settings
from fodc_protocol.link import frames
from fodc_protocol.metrics.samples import Sample
from fodc_proxy.access.agents.rules import PodIdentity
from fodc_proxy.captures.model import Request
from fodc_proxy.evidence.incidents.model import Incident
from fodc_proxy.hosting import Host
from fodc_proxy.runtime import Proxy

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
        self.proxy = Proxy(settings.proxy, self._host(server))
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
            differing=self.proxy.configurations.in_sync,
            incident=self._last_incident,
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
            audit=self.proxy.audit.note,
        )
        engine.subscribe(self._request_changed)
        self.pods = PodWatcher(
            self.cluster,
            self.proxy.registry,
            self.proxy.incidents,
            home_namespace=settings.own_namespace,
            namespaces=settings.namespaces,
        )
        self.proxy.incidents.subscribe(self._incident_changed)
        self.policies = Policies(
            self.cluster,
            self.events,
            replace(
                settings.policies,
                authority=certificates.authority(server, settings),
                authority_in=(settings.own_namespace,),
            ),
            registered=self._is_registered,
            certificate=self._certificate_state,
        )
        self._bridge = Bridge(asyncio.get_running_loop())
        self._handlers = self._handlers_thread()
        self._tasks: list[asyncio.Task[None]] = []
        self._holding: asyncio.Task[None] | None = None
        self._leads_since_s = float("inf")

    def _host(self, server: Cluster) -> Host:
        # Reviews write nothing: no fence is asked.
        return Host(
            self._checks,
            self._samples,
            self._stands_by,
            elected=True,
            token_reviewer=ClusterTokenReviews(server),
            access_reviewer=ClusterAccessReviews(server),
            certificate=certificates.kept(server, self._settings),
            http_certificate=certificates.of_http(server, self._settings),
            speaks_for=self._reaches,
            admits_namespace=self._admits,
            namespace=self._settings.own_namespace,
        )

    def _certificate_state(self, now_ms: int) -> Condition:
        shown = self.proxy.certificate
        if shown is None:
            return certificate_state.NO_TLS
        return certificate_state.condition(shown.expires_at, now_ms)

    def _admits(self, namespace: str) -> bool | None:
        return self.policies.admits(namespace)

    def _reaches(self, who: PodIdentity, claim: frames.Identity) -> bool:
        return self.policies.reaches(who, claim)

    def _handlers_thread(self) -> HandlersThread:
        thread = HandlersThread(lambda: access_of(self._api), self._settings.namespaces)
        requests.register(thread.registry, self.requests, self._bridge)
        nodes.register(thread.registry, self.mirror, self._bridge)
        policies.register(thread.registry, self.policies, self._bridge)
        return thread

    def _is_registered(self, namespace: str, pod: str) -> bool | None:
        """Say whether the agent of a pod is known; None while agents come back to a new leader."""
        home = self._settings.own_namespace
        found = (self.proxy.registry.find(name) for name in (f"{namespace}/{pod}", pod))
        if any(one is not None and (one.namespace or home) == namespace for one in found):
            return True
        grace_s = self._settings.patience.grace_ms / 1000
        return None if time.monotonic() - self._leads_since_s < grace_s else False

    # ---- what it tells of itself --------------------------------------------------------------

    def _checks(self) -> Iterator[Check]:
        lease = self.leadership
        holder = f"; {lease.holder} leads" if lease.holder and not lease.leads else ""
        message = "leads" if lease.leads else f"stands by{holder}"
        if lease.leads and lease.fence():
            message = f"leads and writes nothing: {lease.fence()}"
        yield Check("leader", lease.leads or self._stands_by(), message)
        if lease.leads and self.policies.fault != Fault():
            # It leads all the same: agents and people need it, and the webhook is elsewhere.
            yield Check("webhook", ok=True, message=f"DOES NOT WORK: {self.policies.fault.message}")
        yield from self._authority_check()

    def _authority_check(self) -> Iterator[Check]:
        if self.leadership.leads and (fault := self.policies.authority_fault):
            yield Check("authority", ok=True, message=f"AGENTS MAY NOT KNOW THE PROXY: {fault}")

    def _stands_by(self) -> bool:
        """Say whether another replica leads: then this one is ready, for all that it has to do."""
        return bool(self.leadership.holder) and not self.leadership.leads

    def _samples(self) -> Iterator[Sample]:
        yield from telemetry.leadership_samples(leads=self.leadership.leads)
        if self.leadership.leads:
            yield from telemetry.mirror_samples(self.mirror)
            yield from self.requests.samples()
            yield from self.policies.samples()
        yield from telemetry.call_samples(self.cluster.metrics)
        yield from telemetry.keeping_samples(self.ends, self.events.dropped)

    def _request_changed(self, request: Request) -> None:
        self.mirror.pods_changed(self._captures.note(request))

    def _last_incident(self, key: tuple[str, str]) -> Mapping[str, Any] | None:
        """Return what the FodcNode of this key shows of its last incident."""
        found = [*self.proxy.incidents.book.of_node(f"{key[0]}/{key[1]}")]
        if key[0] == self._settings.own_namespace:
            found += self.proxy.incidents.book.of_node(key[1])
        last = showing.last_of(found)
        return None if last is None else showing.shown(last)

    # The proxy's port has these two, by their places.
    def _incident_changed(self, incident: Incident, is_news: bool) -> None:  # noqa: FBT001 - as told
        node = incident.node
        key = (node.namespace or self._settings.own_namespace, node.pod_name)
        self.mirror.incident_changed(key)
        if is_news and self.leadership.leads:
            self.events.tell(reference(FODC_NODE, *key), showing.event_of(incident))

    # ---- life ---------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Answer probes; raises OSError for an address that cannot be had."""
        await self.proxy.listen()

    async def run(self, asked_to_stop: asyncio.Event) -> int:
        """Stand by, lead, and end; return 0 when asked to end, 1 when something ended it.

        Raises OSError or FodcError when this replica leads and cannot serve.
        """
        # A leader that was killed left its label on the pod.
        await self._label.remove()
        self._keep("events", self.events.run)
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
        self._leads_since_s = time.monotonic()
        self._holding = asyncio.create_task(self.leadership.hold(), name="lease")
        await self.proxy.serve()
        for request in self.proxy.diagnostics.engine.select():
            self._captures.note(request)
        self._begin(self._label.set_until_done(), "leader-label")
        self._keep("mirror", self.mirror.run)
        self._keep("incidents", self.pods.run)
        self._keep("diagnostic-requests", self.requests.run)
        self._keep("handlers", self._handlers.run)
        self._keep("policies", self.policies.run)
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
        ends = (self._label.remove(), self.proxy.stop())
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

# SPDX-License-Identifier: Apache-2.0
"""The only place that wires: settings in, a running proxy out; embedded by other programs too."""

import asyncio
import logging
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fodc_api.proxy import Check
from fodc_protocol.metrics.samples import Sample
from fodc_protocol.version import VERSION
from fodc_proxy import telemetry
from fodc_proxy.access import assembly as access
from fodc_proxy.access.access_reviews import AccessReviews
from fodc_proxy.access.agents.assembly import certificate_of, gate_of
from fodc_proxy.access.audit_log import AuditLog
from fodc_proxy.access.token_reviews import TokenReviews
from fodc_proxy.captures.assembly import DiagnosticsSettings, assemble
from fodc_proxy.evidence.configurations import assembly as configurations
from fodc_proxy.evidence.flows.readings import Readings
from fodc_proxy.evidence.gathering import Findings
from fodc_proxy.evidence.incidents import assembly as incidents
from fodc_proxy.evidence.incidents.engine import Incidents
from fodc_proxy.evidence.incidents.figures import figures_of
from fodc_proxy.evidence.keeping import Keeper
from fodc_proxy.evidence.views import Views
from fodc_proxy.fleet.membership import Contract, Transition
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.hosting import Host
from fodc_proxy.http.edge import Edge, application
from fodc_proxy.http.fetching import fetching
from fodc_proxy.http.hosts import AllowedHosts
from fodc_proxy.http.listener import Bounds, WebServer
from fodc_proxy.http.requests import new_request_id
from fodc_proxy.http.routes import Parts
from fodc_proxy.http.table import ROUTES
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.settings import Settings
from fodc_proxy.storage.errors import Trouble
from fodc_proxy.wire.agent_link import AgentLinkService, Greeting
from fodc_proxy.wire.existing.evidence_streams import AllAgents, FodcAgents
from fodc_proxy.wire.existing.service import FodcService
from fodc_proxy.wire.listeners import Listeners
from fodc_proxy.wire.outbox import Writers
from fodc_proxy.wire.server import GrpcServer, methods_of
from fodc_proxy.wire.streams import Ramp, Turns

if TYPE_CHECKING:
    from fodc_tls.serving import ServingCertificate

_log = logging.getLogger(__name__)


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


def _ends_s(certificate: "ServingCertificate") -> float:
    return 0.0 if certificate.expires_at is None else certificate.expires_at.timestamp()


class Proxy:
    """One proxy: build, `start`, `stop`. Belongs to the event loop in which it is built.

    A host that decides later whether it serves calls `listen` first and `serve` when it may:
    until then probes and the own metrics are answered and everything else is refused.
    """

    def __init__(self, settings: Settings, host: Host | None = None) -> None:
        self.settings = settings
        self._host = host or Host()
        self._serves = False
        reviewer = self._host.token_reviewer
        self.token_reviews = None if reviewer is None else TokenReviews(reviewer)
        decides = self._host.access_reviewer
        self.access_reviews = None if decides is None else AccessReviews(decides)
        self.audit = AuditLog(settings.access.audit_log)
        self.gate = gate_of(settings, self.token_reviews, self._host.pods, self.audit.note)
        self.certificate = certificate_of(settings, self._host.certificate)
        self._tls: asyncio.Task[None] | None = None
        self.incarnation = secrets.token_hex(8)
        self.started_at_ms = _unix_ms()
        self.registry = Registry(settings.limits)
        self.telemetry = telemetry.Telemetry()
        self.telemetry.watch(self._figures)
        self.rounds = Rounds(
            self.registry.members,
            collection_timeout_s=settings.collection_timeout_s,
            telemetry=self.telemetry,
            window_bytes=settings.window_budget_bytes,
        )
        self.views = Views(
            self.registry, self.rounds, check_interval_s=settings.schema_check_interval_s
        )
        self.listeners = Listeners()
        self._writers = Writers()
        self.link, self.fodc = self._services()
        self.rounds.connect(Contract.LINK, self.link)
        self.rounds.connect(Contract.FODC, self.fodc)
        self._is_temporary = not settings.data_dir
        self._is_lost = self._is_temporary and not settings.artifact_store
        self.data_dir = Path(settings.data_dir or tempfile.mkdtemp(prefix="fodc-proxy-"))
        self.diagnostics = assemble(
            DiagnosticsSettings(
                self.data_dir, settings.artifact_store, settings.captures, settings.retention
            ),
            registry=self.registry,
            link=self.link,
            clock_ms=_unix_ms,
        )
        self.listeners.add(self.diagnostics.engine)
        self.findings = self._findings()
        self.incidents = self._incidents()
        self.configurations = configurations.assemble(
            self.diagnostics, self.registry, self.rounds, clock_ms=_unix_ms
        )
        self.incidents.changes_before = self.configurations.changes_before
        self.registry.subscribe(self._changed)
        self._grpc = self._grpc_server()
        told = settings.access
        self.door = access.assemble(told, fetching, self.token_reviews, self.access_reviews)
        self.http_certificate = access.certificate_of(told, self._host.http_certificate)
        self._web = self._web_server()

    def _grpc_server(self) -> GrpcServer:
        return GrpcServer(
            methods_of(self.link, self.fodc),
            max_message_bytes=self.settings.max_message_bytes,
            tls=None if self.certificate is None else self.certificate.context,
            admits_plain=self.gate.rules.admits_legacy or self.gate.rules.admits_strangers,
        )

    def _web_server(self) -> WebServer:
        edge = Edge(
            hosts=AllowedHosts(self.settings.http_allowed_hosts),
            door=self.door,
            audit=self.audit.note,
            is_open=lambda: self._serves,
            request_took=self.telemetry.request_took,
        )
        bounds = Bounds(self.settings.http_read_timeout_s, self.settings.http_write_timeout_s)
        app = application(ROUTES, self._parts(), edge)
        return WebServer(app, bounds, self.http_certificate)

    def _services(self) -> tuple[AgentLinkService, FodcService]:
        interval_s = self.settings.heartbeat_interval_s
        greeting = Greeting(round(interval_s * 1000), VERSION, self.incarnation)
        turns, ramp = Turns(), Ramp()
        link = AgentLinkService(
            self.registry,
            self.rounds,
            self.listeners,
            greeting,
            writers=self._writers,
            turns=turns,
            ramp=ramp,
            telemetry=self.telemetry,
            gate=self.gate,
        )
        fodc = FodcService(
            self.registry,
            self.rounds,
            heartbeat_interval_s=interval_s,
            writers=self._writers,
            turns=turns,
            ramp=ramp,
            telemetry=self.telemetry,
            gate=self.gate,
        )
        return link, fodc

    def _findings(self) -> Findings:
        kept, engine = self.diagnostics, self.diagnostics.engine
        keeper = Keeper(kept.store, kept.partials, lambda: engine.is_open)
        agents = AllAgents(FodcAgents(self.fodc.command), self.link)
        findings = Findings(self.registry, agents, keeper)
        self.fodc.evidence.findings = self.link.evidence.findings = findings
        return findings

    def _incidents(self) -> Incidents:
        told = self.settings.incidents
        made = incidents.assemble(self.diagnostics, self.registry, told, clock_ms=_unix_ms)
        self.link.occurrences.inbox = made
        made.crash_told = self.findings.crashed
        self.findings.on_kept(made.found)
        self.views.on_judged(made.judged)
        return made

    def _parts(self) -> Parts:
        return Parts(
            version=VERSION,
            incarnation=self.incarnation,
            started_at_ms=self.started_at_ms,
            clock_ms=_unix_ms,
            registry=self.registry,
            rounds=self.rounds,
            views=self.views,
            findings=self.findings,
            incidents=self.incidents,
            configurations=self.configurations,
            readings=Readings(),
            engine=self.diagnostics.engine,
            store=self.diagnostics.store,
            unreadable_requests=lambda: self.diagnostics.records.unreadable,
            host_samples=self.host_samples,
            own_page=self.telemetry.page,
            checks=self.ready_checks,
            new_request_id=new_request_id,
        )

    def _changed(self, transition: Transition) -> None:
        member = transition.member
        _log.info(
            "agent %s: pod=%s role=%s contract=%s phase=%s id=%s",
            transition.change.lower(),
            member.pod_name,
            member.role,
            member.contract,
            member.phase,
            member.agent_id,
        )

    # ---- what it tells of itself ----------------------------------------------------------------

    @property
    def grpc_address(self) -> str:
        """Where agents connect, empty before the start."""
        return self._grpc.address

    @property
    def http_address(self) -> str:
        """Where callers ask, empty before the start."""
        return self._web.address

    def _listens(self) -> tuple[str, str, str, str]:
        """Return hosts as they were asked for, `*` for every address, and ports as they are."""
        asked = (self.settings.grpc_listen, self.settings.http_listen)
        ports = [one.rpartition(":")[2] for one in (self.grpc_address, self.http_address)]
        hosts = [one.host if one.host not in {"", "0.0.0.0", "::"} else "*" for one in asked]  # noqa: S104 - told, not listened on
        return hosts[0], ports[0], hosts[1], ports[1]

    def ready_checks(self) -> Sequence[Check]:
        """Return what must work before callers are sent here."""
        listening, waits = bool(self._grpc.address), self._host.stands_by()
        message = "opens when this replica leads" if waits else "does not listen yet"
        message = f"listens on {self._grpc.address}" if listening else message
        return (
            Check("grpc", listening or waits, message),
            self._callers_check(),
            Check("audit", ok=True, message=str(self.audit)),
            self._artifacts_check(waits=waits),
            *self._gate_check(),
            *self._host.checks(),
        )

    def _gate_check(self) -> Iterable[Check]:
        """Say what is less than it should be at the gate; agents are served all the same."""
        fault = self.certificate.fault if self.certificate is not None and self._serves else ""
        if fault:
            yield Check("agents", ok=True, message=f"NO AGENT CAN COME IN: {fault}")
        elif self.gate.note:
            yield Check("agents", ok=True, message=self.gate.note)

    def _callers_check(self) -> Check:
        """Say who may ask over HTTP, and whether others on the way can read along."""
        is_clear = self.http_certificate is None and not self.settings.http_listen.is_loopback
        told = "; WITHOUT TLS: tokens come in the clear" if is_clear else ""
        fault = "" if self.http_certificate is None else self.http_certificate.fault
        return Check("callers", ok=not fault, message=fault or f"{self.door}{told}")

    def _artifacts_check(self, *, waits: bool) -> Check:
        """Say how the store does.

        A replica that a vote made the only one stays ready: agents and people need it for all that
        works, such as to remove artifacts from a store that is full.
        """
        kept = self.diagnostics
        if waits or (kept.engine.is_open and kept.objects.trouble is Trouble.NONE):
            return Check("artifacts", ok=True, message=self._kept_where())
        words = kept.objects.message or f"{kept.objects.place} is not open yet"
        is_needed = self._host.elected and self._serves
        if is_needed and kept.objects.trouble is not Trouble.FENCED:
            stays = "this replica stays ready, because it leads and agents and people need it"
            return Check("artifacts", ok=True, message=f"DOES NOT WORK: {words}; {stays}")
        return Check("artifacts", ok=False, message=f"{kept.objects.trouble}: {words}")

    def _kept_where(self) -> str:
        if self._is_lost:
            return "kept in a temporary folder until the proxy ends; set --data-dir to keep them"
        kept = [f"kept in {self.diagnostics.objects.place}"]
        if damaged := self.diagnostics.store.damaged:
            kept.append(f"{damaged} damaged: GET /artifacts says which")
        if unreadable := self.diagnostics.unreadable:
            first = f"{unreadable[0].key}: {unreadable[0].message}"
            kept.append(f"{len(unreadable)} cannot be read, such as {first}")
        return "; ".join(kept)

    def host_samples(self) -> Iterable[Sample]:
        """Return the families of the program that embeds this proxy."""
        return self._host.samples()

    def _figures(self) -> Iterable[telemetry.Figure]:
        """Yield the proxy's own families as they are now."""
        rounds, dropped = self.rounds, self.fodc.dropped
        garbage = dropped.garbage + self.fodc.evidence.garbage + self.link.evidence.garbage
        uptime_s = (_unix_ms() - self.started_at_ms) / 1000
        gauge, counter = telemetry.gauge, telemetry.counter
        streams = [(("link",), self.link.count), (("fodc",), self.fodc.count)]
        late = [(("late",), rounds.late_answers), (("unasked",), rounds.unasked_answers)]
        useless = [(("unknown_agent",), dropped.unknown_agent), (("garbage",), garbage)]
        yield telemetry.fleet_figures(self.registry.members())
        yield gauge("build_info", "Version of the proxy.", [((VERSION,), 1)], "version")
        yield gauge("uptime_seconds", "Seconds since the start.", uptime_s)
        yield gauge("resident_memory_bytes", "Resident memory.", telemetry.resident_bytes())
        yield gauge("streams", "Agents with a stream.", streams, "contract")
        yield gauge("rounds_active", "Collections in flight.", rounds.active)
        yield gauge("window_bytes", "Bytes of windows that are held.", rounds.window_bytes)
        yield from self._store_figures()
        refused = [((reason,), float(count)) for reason, count in self.door.refused.items()]
        insecure = float(self.door.is_insecure)
        yield gauge("http_insecure", "Whether everybody may do everything.", insecure)
        yield counter("audit_lines_lost", "Lines of the audit not written.", self.audit.lost)
        yield counter("callers_refused", "Callers that were not let in.", refused, "reason")
        yield counter("answers_dropped", "Answers that came too late or unasked.", late, "cause")
        yield counter("messages_dropped", "Messages without a use.", useless, "cause")
        yield counter("frames_dropped", "Frames that no stream took.", self._writers.dropped)
        crashes = self.findings.crashes
        yield gauge("crashes_unstored", "Crashes that are not stored yet.", crashes.unkept)
        fetching = self.findings.pressures.fetching
        yield gauge("profile_fetches", "Waiting for a profile of an existing agent.", fetching)
        yield counter("crashes_dropped", "Crashes that were told unasked.", crashes.dropped)
        yield from figures_of(self.incidents.book, self.incidents.unstored)
        yield from configurations.figures_of(self.configurations)
        yield from self._gate_figures()
        yield counter("superseded", "Entries replaced by newer ones.", self.registry.superseded)
        yield counter("conflicts", "Claims of a living agent's pod.", self.registry.conflicts)

    def _gate_figures(self) -> Iterable[telemetry.Figure]:
        gauge, counter = telemetry.gauge, telemetry.counter
        refused = [((str(why),), number) for why, number in self.gate.refused.items()]
        proofs = Counter(str(one.authority.proof) for one in self.registry.members())
        shown = [((proof,), number) for proof, number in sorted(proofs.items())]
        is_open = float(self.gate.rules.admits_strangers)
        yield counter("agents_refused", "Agents that were not let in.", refused, "reason")
        yield gauge("agents_by_proof", "Agents by what they have shown.", shown, "proof")
        yield gauge("insecure_agents", "1 when agents need neither TLS nor tokens.", is_open)
        certificates = {"grpc": self.certificate, "http": self.http_certificate}
        ends = [((name,), _ends_s(one)) for name, one in certificates.items() if one is not None]
        if ends:
            text = "When the certificate of a listener ends, in Unix seconds; 0 for none."
            yield gauge("certificate_expiry_seconds", text, ends, "listener")
        if self.token_reviews is not None:
            asked = [((how,), number) for how, number in self.token_reviews.asked.items()]
            yield counter("token_reviews", "Tokens that were asked about.", asked, "result")

    def _store_figures(self) -> Iterable[telemetry.Figure]:
        kept, gauge = self.diagnostics, telemetry.gauge
        states = [((str(one),), float(one is kept.objects.trouble)) for one in Trouble]
        damaged = kept.store.damaged
        counts = [(("Stored",), len(kept.store) - damaged), (("Damaged",), damaged)]
        unreadable = len(kept.unreadable)
        yield gauge("store_state", "How the artifact store does: 1 is how.", states, "state")
        yield gauge("artifacts", "Artifacts that are kept.", counts, "state")
        yield gauge("artifact_bytes", "Bytes of all artifacts.", kept.store.total_bytes)
        yield gauge("unreadable_records", "Stored records that cannot be read.", unreadable)

    # ---- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open what is stored, then serve; raises as `listen` and `serve`."""
        await self.listen()
        await self.serve()

    async def listen(self) -> None:
        """Answer probes; raises OSError for an address that cannot be had."""
        http = self.settings.http_listen
        try:
            self.audit.start()
            await self._web.start(http.host, http.port)
        except BaseException:
            await self.stop()
            raise

    async def serve(self) -> None:
        """Open what is stored, then let agents and callers in.

        Raises OSError for an address that cannot be had, HeldError for a data folder that another
        proxy uses.
        """
        grpc = self.settings.grpc_listen
        try:
            await self.diagnostics.open(elected=self._host.elected)
            await self.incidents.open()
            await self.findings.open()
            await self.configurations.open()
            await self._secure()
            await self._grpc.start(grpc.host, grpc.port)
        except BaseException:
            await self.stop()
            raise
        self._serves = True
        self.registry.start()
        self.views.start()
        self.findings.start()
        self.incidents.start()
        self.configurations.start()
        self.diagnostics.start()
        if self._is_lost:
            _log.warning("artifacts are lost when the proxy ends: set --data-dir to keep them")
        _log.info("listening: grpc=%s:%s http=%s:%s", *self._listens())

    async def _secure(self) -> None:
        """Read what agents are shown, and keep it as it should be."""
        if self.certificate is not None:
            await self.certificate.refresh()
            self._tls = asyncio.create_task(self.certificate.run(), name="grpc-certificate")

    async def stop(self) -> None:
        """End everything; bounded to about a second however many agents are attached."""
        await self._web.stop()
        await asyncio.to_thread(self.audit.stop)
        await self._grpc.stop()
        await self.link.occurrences.stop()
        if self.token_reviews is not None:
            await self.token_reviews.stop()
        if self._tls is not None:
            self._tls.cancel()
            await asyncio.gather(self._tls, return_exceptions=True)
        if self.access_reviews is not None:
            await self.access_reviews.stop()
        await self._writers.stop()
        await self.registry.stop()
        await self.views.stop()
        await self.findings.stop()
        await self.incidents.stop()
        await self.configurations.stop()
        self.rounds.stop()
        await self.diagnostics.stop()
        if self._is_temporary:
            shutil.rmtree(self.data_dir, ignore_errors=True)

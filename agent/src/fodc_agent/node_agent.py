# SPDX-License-Identifier: Apache-2.0
"""One node with everything that is collected of it and told about it.

The only place where the parts of an agent are connected; the larger ones are made beside it, in the
modules node_*.

The one idea: a node has an agent of its own - window, captures, line to the proxy - whether it is
alone in its process or one of many that are reached over the network. Everything may fail: a node
that is down, a proxy that is away, a disk that is full are reported and end nothing.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

from fodc_agent.abilities import remote_abilities, unread_abilities
from fodc_agent.bus.breaker import Breaker
from fodc_agent.bus.coordinator import Coordinator, Reading
from fodc_agent.captures.orders import Origin
from fodc_agent.captures.outcomes import Outcome, update_of
from fodc_agent.captures.pprof import PprofPort
from fodc_agent.captures.spool import Held
from fodc_agent.clocks import wall_ms
from fodc_agent.collecting import (
    identity_labels,
    kernel_telemetry,
    node_process,
    pprof_url,
    sources_of,
)
from fodc_agent.crew import Crew
from fodc_agent.evidence.telling import Evidence
from fodc_agent.identity.discovery import Discovery, ask_node
from fodc_agent.identity.roles import UNSPECIFIED, NodeFacts, labels_of, role_of_command
from fodc_agent.lanes import Lane
from fodc_agent.node_access import NodeAccess
from fodc_agent.node_captures import captures_of, kernel_taker, quota_of, recovered
from fodc_agent.node_events import NodeEvents
from fodc_agent.node_report import NodeReport
from fodc_agent.node_uplink import Uplink, build_uplink
from fodc_agent.node_watch import NodeWatch
from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.keeper import Keeper
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.recording import Recording
from fodc_agent.remote.shares import Share
from fodc_agent.scrape_figures import is_page
from fodc_agent.scraping.client import HttpClient
from fodc_agent.self_metrics import own_samples
from fodc_agent.settings import Settings
from fodc_agent.sources.configuration import ConfigurationReading
from fodc_agent.takers import takers_of
from fodc_agent.uplink.answers import Answers, NoAnswerError
from fodc_agent.uplink.caller import LineStatus
from fodc_agent.uplink.pace import chance
from fodc_agent.web.routes import Check
from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import Sample
from fodc_protocol.version import VERSION

_log: Final = logging.getLogger(__name__)

_STATE_EVERY_S: Final = 5.0
_ROLE_PATIENCE_S: Final = 5.0
_ROLE_AGE_S: Final = 300.0
_INSPECTION_S: Final = 60.0
_NODE_LABELS: Final = "node-labels"
# A node that is back is to be seen soon; one scrape at a time is nothing that overloads it.
_PAGE_CAP_S: Final = 5.0
_REPLAY_S: Final = 1.0
# Enough series for what the agent says of itself and of each scrape.
_LEAST_SERIES: Final = 128
# What a page may take on the way for its row to be written with those of its round.
_GATHER_S: Final = 0.5


class NodeAgent:
    """The agent of one node: `start` it, `close` it; it belongs to the running event loop."""

    def __init__(self, settings: Settings) -> None:
        """Make the parts; nothing is touched."""
        self.settings = settings
        self.incarnation = os.urandom(8).hex()
        self.pod_name = settings.pod_name or socket.gethostname()
        self._client = HttpClient(access=access_of(settings))
        self._crew = Crew()
        self._recorder = recorder_of(settings)
        self._coordinator = Coordinator(time.monotonic, wall_ms, chance())
        self._keeper = keeper_of(settings, self._recorder, self._coordinator.at_rest)
        self._recording = Recording(
            self._coordinator,
            self._recorder,
            on_change=self._tell_state,
            on_return=self._look_again,
        )
        self._started_s = time.monotonic()
        self._node = None if settings.is_remote else node_process(settings, self._look_again)
        telemetry = kernel_telemetry(settings)
        self._sources = sources_of(
            settings,
            self._client,
            self._node,
            uptime_s=lambda: time.monotonic() - self._started_s,
            counters=(self._own_samples,),
            telemetry=telemetry,
            on_harm=lambda text: self._events.harm_seen(text),  # noqa: PLW0108 - made below
        )
        inspection = Lane("inspection", timeout_s=_INSPECTION_S)
        self._quota = quota_of(settings)
        url = pprof_url(settings)
        pprof = PprofPort(self._client, url, inspection)
        kernel = kernel_taker(telemetry, self._node)
        self._captures = captures_of(
            settings,
            takers_of(pprof, self._recorder, self._known_configuration, kernel),
            self._quota,
            origin=self._origin,
            report=self._reported,
        )
        self._events = NodeEvents(
            settings, self._captures, self._recorder, self._coordinator, self._node
        )
        self._discovery = discovery_of(settings, self._facts_from_command, self._learned)
        self._report = NodeReport(
            settings,
            [one.source.name for one in self._sources],
            self._recorder,
            self._keeper,
            self._recording,
            self._captures,
            self._discovery,
            abilities=remote_abilities() if settings.is_remote else unread_abilities(),
            pressure=self._events.capability,
        )
        self._watch = NodeWatch(
            self._report, self._client, self._coordinator, url, inspection, self._tell_state
        )
        self._uplink: Uplink | None = None
        self._told_s = 0.0

    # ---- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin everything, the scraping first; returns when it runs."""
        self._learned(self._discovery.facts)
        self._start_collecting()
        # The first page must not wait for a disk or a /proc that hangs.
        await asyncio.sleep(0)
        if self._node is not None:
            await self._watch.check_first(self._node)
        held = await self._events.open(self.incarnation, await recovered(self._report))
        if self._keeper is not None:
            # Who asks at once is to find the history of the life before.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REPLAY_S):
                    await self._keeper.replayed.wait()
        self._start_telling(held)

    @property
    def has_failed(self) -> bool:
        """Whether a task had to be given up."""
        return self._crew.failed.is_set()

    async def failed(self) -> None:
        """Wait until a task had to be given up."""
        await self._crew.failed.wait()

    def resize(self, share: Share) -> None:
        """Take other limits of memory and disk; what is beyond them goes step by step."""
        self._recorder.resize(share.window_bytes)
        self._quota.max_bytes = share.quota_bytes
        if self._keeper is not None:
            self._keeper.resize(share.journal_bytes)

    def _start_collecting(self) -> None:
        crew = self._crew
        self._recording.on_page = self._events.page_seen
        self._recording.on_taken = self._reading_taken
        for one in self._sources:
            name = one.source.name
            self._coordinator.add(one.source, Breaker(cap_s=_PAGE_CAP_S) if is_page(name) else None)
            crew.start(f"record {name}", partial(self._recording.record, name, one.interval_s))
        if self._keeper is not None:
            crew.start("replay", self._keeper.replay)
            crew.start("journal", self._keeper.write)

    def _start_telling(self, held: Sequence[Held]) -> None:
        crew = self._crew
        crew.start("identity", self._discovery.run)
        crew.start("configuration", self._watch.watch_configuration)
        crew.start("profiler", self._watch.watch_profiler)
        self._events.start(crew)
        if self._node is not None:
            crew.start("self-check", partial(self._watch.check, self._node))
        if self.settings.proxy_endpoints:
            self._uplink = self._make_uplink(held)
            crew.start("uplink", self._call)

    async def close(self) -> None:
        """End everything, the line first, so that the proxy hears a goodbye."""
        if self._uplink is not None:
            self._uplink.caller.stop.set()
            await asyncio.sleep(0)
        await self._captures.aclose()
        await self._coordinator.aclose()
        if self._uplink is not None:
            await self._uplink.said_goodbye()
        await self._crew.stop(0.5)
        await self._client.aclose()
        if self._keeper is not None:
            await self._keeper.close()

    # ---- parts -----------------------------------------------------------------------------

    def _make_uplink(self, held: Sequence[Held]) -> Uplink:
        evidence = Evidence(self.settings, self.pod_name, access_of(self.settings))
        uplink = build_uplink(
            self.settings,
            identity=identity_of(self.settings, self.pod_name),
            incarnation=self.incarnation,
            state=self._report.state,
            answers=Answers(self._recorder, self._configuration, evidence.told),
            evidence=evidence,
            pressures=self._events.pressures,
            recorder=self._recorder,
            jobs=self._captures,
            events=self._events.told.queue,
            on_taken=self._events.told.taken,
            held=[update_of(one.command_id, one.outcome) for one in held],
        )
        self._events.linked(uplink.link)
        return uplink

    async def _call(self) -> None:
        """Keep the line to the proxy, after a moment for the role to be found out (W-05)."""
        assert self._uplink is not None
        if not self.settings.node_role:
            facts = await self._discovery.known(_ROLE_PATIENCE_S)
            if facts.role == UNSPECIFIED:
                _log.warning("role_unknown problem=%r", self._report.role_problem())
        try:
            await self._uplink.caller.run()
        finally:
            self._uplink.gone.set()

    # ---- what is known about the node ----------------------------------------------------------

    async def _facts_from_command(self) -> NodeFacts | None:
        """Read role and labels from what the node was told, where its ports do not tell them."""
        reading = await self._watch.configuration(_ROLE_AGE_S)
        known = reading.payload
        if not isinstance(known, ConfigurationReading) or not known.epoch:
            return None
        return NodeFacts(
            role_of_command((known.role_word,)), labels_of(known.value_of(_NODE_LABELS))
        )

    def _learned(self, facts: NodeFacts) -> None:
        """Label everything anew and tell the proxy."""
        common = identity_labels(facts.role, facts.labels, self.pod_name, "")
        self._recorder.set_identity(None, common)
        for one in self._sources:
            if one.container_name:
                own = identity_labels(facts.role, facts.labels, self.pod_name, one.container_name)
                self._recorder.set_identity(one.source.name, own)
        self._tell_state()

    def _look_again(self) -> None:
        self._watch.look_again()

    def _origin(self) -> Origin:
        return Origin(
            node=self.pod_name,
            pod=self.pod_name,
            role=self._discovery.facts.role,
            agent_version=VERSION,
            incarnation=self.incarnation,
        )

    def _reported(self, command_id: str, outcome: Outcome) -> None:
        if self._uplink is not None:
            self._uplink.link.noted(update_of(command_id, outcome))

    async def _known_configuration(self) -> tuple[ConfigurationReading | None, str]:
        """Ask the watch, which is made after the captures that ask it by this."""
        return await self._watch.known_configuration()

    async def _configuration(self, query_id: int) -> frames.Configuration:
        """Answer with the node's settings as they are now, or the last ones that are known."""
        known, error = await self._known_configuration()
        if known is None:
            raise NoAnswerError(Reason.NODE_UNREACHABLE, error or "nothing was read yet")
        return configuration_frame(query_id, known)

    # ---- what is told --------------------------------------------------------------------------

    def _tell_state(self) -> None:
        if self._uplink is not None:
            self._uplink.link.state_changed(self._report.state())

    def _reading_taken(self, reading: Reading) -> None:
        """Do what is due now and then while the agent is awake: a wake-up costs most of it."""
        self._events.reading_taken(reading)
        now_s = time.monotonic()
        is_due = is_page(reading.source) and now_s - self._told_s >= _STATE_EVERY_S
        if self._uplink is not None and is_due:
            self._told_s = now_s
            self._tell_state()  # figures such as the window's extent ride on the next beat
            self._uplink.link.awake()

    def _own_samples(self) -> Iterable[Sample]:
        statistics, failures = self._coordinator.statistics(), self._recording.failures
        yield from own_samples(statistics, failures, self._line(), self._crew.crashes)
        yield from self._events.samples()

    def _line(self) -> LineStatus:
        return self._uplink.caller.status if self._uplink is not None else LineStatus()

    def blocks(self) -> list[FamilyBlock]:
        """Return the newest values, one block per family."""
        return self._recorder.latest().blocks

    def checks(self) -> list[Check]:
        """Return what is ready and what is not."""
        return self._report.checks(self._line() if self.settings.proxy_endpoints else None)


def keeper_of(
    settings: Settings, recorder: Recorder, others: Callable[[float], Awaitable[None]]
) -> Keeper | None:
    """Return what keeps history over a restart, None where none is wanted.

    `others` waits for the other readings of a round, at most for the seconds that it is given.
    """
    if settings.recorder_dir is None:
        return None
    journal = Journal(settings.recorder_dir, max_bytes=settings.recorder_max_bytes)
    return Keeper(journal, recorder, gather_s=_GATHER_S, others=others)


def recorder_of(settings: Settings) -> Recorder:
    """Return the recorder, which is empty."""
    budget_bytes = settings.window_budget_bytes
    recorder = Recorder(
        budget_bytes=budget_bytes,
        interval_s=settings.poll_interval_s,
        target_s=settings.window_target_s,
        least_series=_LEAST_SERIES,
    )
    _log.info("window budget_bytes=%d", budget_bytes)
    return recorder


def discovery_of(
    settings: Settings,
    fallback: Callable[[], Awaitable[NodeFacts | None]],
    on_change: Callable[[NodeFacts], None],
) -> Discovery:
    """Return what finds out who the node is."""
    return Discovery(
        settings.cluster_state_ports,
        interval_s=settings.cluster_state_interval_s,
        fallback=fallback,
        on_change=on_change,
        ask=partial(ask_node, access=access_of(settings)),
        role=settings.node_role or UNSPECIFIED,
        labels=settings.node_labels,
    )


def access_of(settings: Settings) -> NodeAccess:
    """Return how the node's ports are reached."""
    return NodeAccess(
        settings.node_host,
        settings.node_tls,
        settings.node_https,
        settings.node_credentials_file,
    )


def identity_of(settings: Settings, pod_name: str) -> frames.Identity:
    """Return what stays the same for the life of the node's pod."""
    addresses = [("metrics", settings.metrics_ports), ("pprof", settings.pprof_ports)]
    return frames.Identity(
        pod_name=pod_name,
        namespace=settings.pod_namespace,
        pod_uid=settings.pod_uid,
        kubernetes_node=settings.kubernetes_node,
        cluster=settings.cluster,
        container_names=settings.container_names,
        addresses=tuple(
            frames.Address(name, settings.pod_ip or settings.node_host, port)
            for name, ports in addresses
            for port in ports
        ),
    )


def configuration_frame(query_id: int, reading: ConfigurationReading) -> frames.Configuration:
    """Return how the node's settings are told on the link."""
    return frames.Configuration(
        query_id,
        reading.epoch,
        reading.hash,
        reading.collected_at_ms,
        reading.entries,
        reading.conditions,
    )

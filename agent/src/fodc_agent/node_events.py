# SPDX-License-Identifier: Apache-2.0
"""What notices and tells occurrences of a node, as one part of its agent."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from fodc_agent.bus.coordinator import Coordinator, Reading
from fodc_agent.captures.orders import Captures
from fodc_agent.captures.spool import Held
from fodc_agent.clocks import wall_ms
from fodc_agent.collecting import node_port, pprof_url
from fodc_agent.crew import Crew
from fodc_agent.evidence.telling import crash_folder
from fodc_agent.occurrences.memory import NodeMemory
from fodc_agent.occurrences.notebook import Notebook
from fodc_agent.occurrences.observing import NodeObserver, Parts, armed_problem
from fodc_agent.occurrences.oom import OomCounter
from fodc_agent.occurrences.own_captures import OwnCaptures
from fodc_agent.occurrences.pressure_profiles import PressureProfiles
from fodc_agent.occurrences.rules import Happened, NodeRules
from fodc_agent.occurrences.telling import Occurrences
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.self_metrics import occurrence_samples
from fodc_agent.settings import Settings
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.node_process import NodeProcess
from fodc_protocol.capabilities import CapabilityState
from fodc_protocol.link import frames
from fodc_protocol.metrics.samples import Sample
from fodc_protocol.occurrences import OccurrenceKind

if TYPE_CHECKING:
    from fodc_agent.uplink.agent_link import AgentLink

KIND: Final = "pressure-profiles"


class NodeEvents:
    """Occurrences of one node, from what is noticed to what is told; `link` may come later."""

    def __init__(
        self,
        settings: Settings,
        captures: Captures,
        recorder: Recorder,
        coordinator: Coordinator,
        node: NodeProcess | None,
    ) -> None:
        self.link: AgentLink | None = None
        self._settings = settings
        self.own = OwnCaptures(
            captures,
            settings.capture_dir,
            hold=self._hold,
            drop=self._drop,
            clock_s=time.monotonic,
        )
        self.told = Occurrences(
            Notebook(settings.capture_dir),
            self.own,
            settings,
            tell=self._tell,
            now_ms=wall_ms,
        )
        self.pressures = PressureProfiles(
            lambda: self.told.pressures, self.own, captures, f"{pprof_url(settings)}/debug/pprof"
        )
        folder = crash_folder(settings.crash_dir, time.time_ns)
        page = f"metrics:{node_port(settings)}"
        self._parts = Parts(
            settings,
            recorder,
            NodeMemory(settings, recorder, coordinator, page, node),
            page,
            node,
            None if node is None else OomCounter(NodeCgroup(node)),
            None if folder is None else folder.newest,
        )
        self._observer: NodeObserver | None = None
        self._seen_before: dict[str, tuple[str, int]] = {}
        self._lost: dict[str, int] = {}

    async def open(self, incarnation: str, held: Sequence[Held]) -> list[Held]:
        """Take over what an earlier life has left; return what of `held` is not taken again."""
        rules = NodeRules(await self.told.open(incarnation), time.monotonic())
        self.told.remembered = lambda: rules.remembered
        self._observer = NodeObserver(self._parts, rules, self.told)
        for source, (problem, silent) in self._seen_before.items():
            self._observer.page_seen(source, problem, silent)
        self._lost = self.told.lost_windows()
        for command_id in self._lost:
            await self.own.let_go(command_id)
        return [one for one in held if one.command_id not in self._lost]

    def linked(self, link: "AgentLink") -> None:
        """Tell from now on over this link, and of what is taken again."""
        self.link = link
        for command_id in self._lost:
            link.begun(command_id)

    def start(self, crew: Crew) -> None:
        """Begin to notice and to tell, once the window of the life before is there again."""
        for command_id, at_ms in self._lost.items():
            self.own.take_again(command_id, at_ms)
        observer = self._observer
        assert observer is not None
        crew.start("occurrences", self.told.run)
        crew.start("memory", observer.watch_memory)
        if not self._settings.node_https:
            crew.start("node-answers", observer.watch_answers)
        if self._parts.node is not None:
            crew.start("node-life", observer.watch_process)
        if self._parts.crashes is not None:
            crew.start("crashes", observer.watch_crashes)

    def page_seen(self, source: str, problem: str, silent: int) -> None:
        """Take in a page of the node, or why it did not come.

        The first ones come while a disk is still read: without them a node that answered would
        count as one that has not begun to.
        """
        if self._observer is None:
            self._seen_before[source] = problem, silent
        else:
            self._observer.page_seen(source, problem, silent)

    def reading_taken(self, reading: Reading) -> None:
        """Take in a reading that was recorded."""
        if self._observer is not None:
            self._observer.reading_taken(reading)

    def harm_seen(self, sentence: str) -> None:
        """Take in that the kernel's figures mean harm; the sentence says which."""
        self.told.post([Happened(OccurrenceKind.TRIGGER, sentence)])

    # ---- what is shown --------------------------------------------------------------------------

    def capability(self) -> frames.CapabilityState:
        """Say whether profiles are taken when memory is short."""
        observer = self._observer
        if observer is None:
            return frames.CapabilityState(KIND, CapabilityState.UNKNOWN)
        percent = self._settings.pressure_percent
        reason, message = armed_problem(percent, observer.memory)
        if not reason:
            return frames.CapabilityState(KIND, CapabilityState.SUPPORTED)
        state = CapabilityState.UNSUPPORTED if percent else CapabilityState.DISABLED
        return frames.CapabilityState(KIND, state, reason, message)

    def samples(self) -> Iterator[Sample]:
        """Yield how occurrences and memory do."""
        observer = self._observer
        if observer is None:
            return
        is_armed = not armed_problem(self._settings.pressure_percent, observer.memory)[0]
        yield from occurrence_samples(
            self.told.queue,
            is_armed=is_armed,
            memory_percent=None if observer.memory is None else observer.memory.percent,
            begun=self.told.pressures_begun,
            cooled=observer.cooled,
            refused=self.own.refused,
        )

    # ---- the link -------------------------------------------------------------------------------

    def _tell(self, event: frames.Event) -> None:
        if self.link is not None:
            self.link.happened(event)

    def _hold(self, command_id: str) -> None:
        if self.link is not None:
            self.link.begun(command_id)

    def _drop(self, command_id: str) -> None:
        if self.link is not None:
            self.link.forgotten(command_id)

# SPDX-License-Identifier: Apache-2.0
"""What is told about one node: state for the proxy, checks for the own port.

The one idea: here is gathered what `node_state` judges, so that link, log and `/readyz` say the
same of the same facts.
"""

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Final

from fodc_agent.abilities import KERNEL, REMOTE_MESSAGE, TURN_ON
from fodc_agent.captures.orders import Captures
from fodc_agent.identity.discovery import Discovery
from fodc_agent.identity.roles import UNSPECIFIED
from fodc_agent.kernel_groups import STACKS
from fodc_agent.node_state import (
    WINDOW,
    Health,
    ProfilerFacts,
    conditions_of,
    kernel_profile_capabilities,
    profile_capabilities,
    source_capability,
)
from fodc_agent.recorder.keeper import Keeper
from fodc_agent.recorder.recorder import Recorder, WindowExtent
from fodc_agent.recording import Recording
from fodc_agent.scrape_figures import is_page
from fodc_agent.settings import Settings
from fodc_agent.uplink.caller import LineStatus
from fodc_agent.web.routes import Check
from fodc_protocol.capabilities import CapabilityState
from fodc_protocol.lean import dataclass
from fodc_protocol.link import frames

NO_PAGE_YET: Final = "no page has come yet"


@dataclass(slots=True)
class NodeReport:
    """Everything that the report is made of; the last three change while the agent runs."""

    settings: Settings
    sources: Sequence[str]
    recorder: Recorder
    keeper: Keeper | None
    recording: Recording
    captures: Captures
    discovery: Discovery
    pressure: Callable[[], frames.CapabilityState]
    abilities: tuple[frames.CapabilityState, ...] = ()
    profiler: ProfilerFacts = field(default_factory=ProfilerFacts)
    spool_problem: str = ""

    def state(self) -> frames.NodeState:
        """Return what the proxy is told of the node."""
        facts = self.discovery.facts
        extent = self.recorder.extent()
        configuration = self.recording.configuration
        window = frames.WindowExtent(
            extent.oldest_ms, extent.newest_ms, extent.series, extent.bytes
        )
        return frames.NodeState(
            node_role=facts.role,
            labels=facts.labels,
            capabilities=self._capabilities(),
            window=window if extent.rows else None,
            configuration_hash=configuration.hash if configuration is not None else "",
            artifact_count=self.captures.artifact_count,
            artifact_bytes=self.captures.artifact_bytes,
            conditions=conditions_of(self._health(extent)),
        )

    def checks(self, line: LineStatus | None) -> list[Check]:
        """Return what is ready and what is not; `line` is None without a proxy."""
        problems = self._page_problems()
        why = "; ".join(f"{name}: {text}" for name, text in sorted(problems.items()))
        checks = [Check("node-scraped", not problems, why)]
        # A history that is less than wanted shows; it is no reason to take the pod out of service.
        conditions = conditions_of(self._health(self.recorder.extent()))
        window = [one.message for one in conditions if one.type in WINDOW]
        checks.append(Check("window", ok=True, message="; ".join(window)))
        if self.settings.counts_in_kernel:
            checks.append(self._kernel_check())
        known = self._role_known
        checks.append(Check("role-known", known, "" if known else self.role_problem()))
        if line is not None:
            told = "" if line.up else line.problem or f"{line.phase} {line.endpoint}".strip()
            checks.append(Check("proxy-linked", line.up, told))
        return checks

    def _kernel_check(self) -> Check:
        """Say what is not counted in the kernel: it shows, and everything else works without."""
        gaps = self._kernel_gaps()
        if gaps is None:
            return Check("kernel", ok=True, message="the programs were not loaded yet")
        why = "; ".join(f"{part}: {reason}: {message}" for part, reason, message in gaps)
        return Check("kernel", ok=True, message=why)

    def role_problem(self) -> str:
        """Return why the role of the node is not known."""
        if not self.settings.cluster_state_ports:
            return "no --cluster-state-ports and no --node-role were given"
        return self.discovery.problem or "the node names neither data nor liaison as its role"

    @property
    def _role_known(self) -> bool:
        return self.discovery.facts.role != UNSPECIFIED

    def _unanswered(self) -> list[str]:
        return [name for name in self.sources if name not in self.recording.answered]

    def _page_problems(self) -> dict[str, str]:
        """Return what is wrong with the node's pages; other sources are capabilities."""
        pending = dict.fromkeys(filter(is_page, self._unanswered()), NO_PAGE_YET)
        failing = self.recording.problems.items()
        return pending | {name: text for name, text in failing if is_page(name)}

    def _capabilities(self) -> tuple[frames.CapabilityState, ...]:
        """Say what was found out beforehand, and of what was read what came of it."""
        profiles = profile_capabilities(self.profiler, self.spool_problem)
        in_kernel = kernel_profile_capabilities(self._lacks_kernel(), self._kernel_gaps())
        told = {one.kind: one for one in (*profiles, *in_kernel, *self.abilities)}
        for source, gaps in self.recording.gaps.items():
            problem = self.recording.problems.get(source, "")
            missing = [(gap.reason, gap.message) for gap in gaps]
            told[source] = source_capability(source, problem, missing)
        return (*told.values(), self._configuration_capability(), self.pressure())

    def _lacks_kernel(self) -> tuple[str, str] | None:
        """Return why no profile is taken in the kernel although the kernel might permit it."""
        if self.settings.is_remote:
            return "Remote", REMOTE_MESSAGE
        if not self.settings.counts_in_kernel:
            return "NotEnabled", f"this agent does not look into the kernel; {TURN_ON}"
        if self.settings.ktm_backend == "bcc":
            return "NotEnabled", "--ktm-backend bcc takes no captures in the kernel, core does"
        if STACKS not in self.settings.ktm_groups:
            return "NotEnabled", f"--ktm-groups does not name {STACKS}"
        return None

    def _kernel_gaps(self) -> list[tuple[str, str, str]] | None:
        gaps = self.recording.gaps.get(KERNEL)
        return None if gaps is None else [(one.part, one.reason, one.message) for one in gaps]

    def _configuration_capability(self) -> frames.CapabilityState:
        reading = self.recording.configuration
        if reading is None:
            return frames.CapabilityState("config", CapabilityState.UNKNOWN)
        gaps = [] if reading.epoch else [(one.reason, one.message) for one in reading.conditions]
        if gaps and self.settings.is_remote:
            gaps = [("Remote", text) for _, text in gaps]
        return source_capability("config", "", gaps)

    def _health(self, extent: WindowExtent) -> Health:
        return Health(
            role_known=self._role_known,
            role_problem=self.role_problem(),
            scrape_problems=self._page_problems(),
            pages_cut=self.recording.cuts,
            journal_problem="" if self.keeper is None else self.keeper.problem,
            spool_problem=self.spool_problem,
            is_restoring=self.keeper is not None and not self.keeper.replayed.is_set(),
            refused_series=extent.refused,
            reachable_s=extent.reachable_s,
            target_s=extent.target_s,
            budget_bytes=extent.budget_bytes,
            remote=REMOTE_MESSAGE if self.settings.is_remote else "",
        )

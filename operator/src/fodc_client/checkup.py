# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the fleet, and what to do about each thing; pure.

The one idea: every finding is a row with a place, a matter, a reason and advice. A `problem` means
that something which should work does not; a `note` is a choice or a limit that people should know.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final

from fodc_api.artifacts import Artifacts
from fodc_api.cluster import Capability, Cluster, Node
from fodc_api.configuration import Configurations
from fodc_api.proxy import Readiness
from fodc_api.requests import Requests
from fodc_api.words import ArtifactState, Contract, NodePhase
from fodc_client.formats import counted, passed_s, span
from fodc_client.output import Json
from fodc_client.reasons import advice_for, because
from fodc_client.tables import Column, Table

HEARTBEAT_LIMIT_S: Final = 30.0
CLOCK_LIMIT_S: Final = 5.0
SETTLING_S: Final = 60.0
"""So long after it registered an agent may not have read everything yet."""
_WAIT: Final = "Wait a moment: the agent registered less than a minute ago."


class Level(StrEnum):
    """How bad a finding is."""

    PROBLEM = "problem"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the report; `where` is a node, or "proxy"."""

    level: Level
    where: str
    matter: str
    why: str
    advice: str


def problem(where: str, matter: str, why: str, advice: str) -> Finding:
    """Return something that must be put right."""
    return Finding(Level.PROBLEM, where, matter, why, advice)


def note(where: str, matter: str, why: str, advice: str) -> Finding:
    """Return something that people should know."""
    return Finding(Level.NOTE, where, matter, why, advice)


def _because(reason: str, message: str) -> str:
    return because(reason, message) or "no reason given"


# ---- the proxy ------------------------------------------------------------------------------


def of_proxy(readiness: Readiness, *, proxy_version: str, own_version: str) -> Iterator[Finding]:
    """Yield what is wrong with the proxy itself."""
    for check in readiness.checks:
        if not check.ok:
            yield problem(
                "proxy", f"readiness: {check.name}", check.message or "the check fails",
                "Read the proxy's log; until then Kubernetes sends it no traffic.",
            )  # fmt: skip
        elif check.name == "agents":
            # Told only when there is something to tell; agents that are let in work.
            yield problem(
                "proxy", "agents", check.message,
                "docs/security.md says what an agent has to show; the proxy's log whom it refused.",
            )  # fmt: skip
    if not readiness.ready and all(check.ok for check in readiness.checks):
        yield problem("proxy", "readiness", "it says that it is not ready", "Read the proxy's log.")
    if proxy_version != own_version:
        yield note(
            "proxy", "version", f"the proxy is {proxy_version}, this program {own_version}",
            "Use the same version if an answer is not understood.",
        )  # fmt: skip


def of_clock(apart_s: float, round_trip_s: float) -> Iterator[Finding]:
    """Yield a finding when the proxy's clock is `apart_s` ahead of this machine's (or behind)."""
    if abs(apart_s) > CLOCK_LIMIT_S + round_trip_s:
        side = "ahead of" if apart_s > 0 else "behind"
        yield problem(
            "proxy", "clock", f"it is {span(abs(apart_s))} {side} this machine",
            "Synchronize the clocks (NTP): times of windows and captures would mislead.",
        )  # fmt: skip


def of_store(artifacts: Artifacts, requests: Requests) -> Iterator[Finding]:
    """Yield what is stored and cannot be used."""
    for artifact in artifacts.artifacts:
        if artifact.state is ArtifactState.DAMAGED:
            yield problem(
                "proxy", f"artifact {artifact.artifact_id}", artifact.message,
                f"Remove it: fodc artifacts delete {artifact.artifact_id}",
            )  # fmt: skip
    for unreadable in (*artifacts.unreadable, *requests.unreadable):
        yield problem(
            "proxy", f"record {unreadable.name}", unreadable.message,
            "Look into the artifact store; a record that cannot be read is left alone.",
        )  # fmt: skip


# ---- the nodes ------------------------------------------------------------------------------


def of_cluster(cluster: Cluster) -> Iterator[Finding]:
    """Yield what is wrong with the nodes, in their order."""
    if not cluster.nodes:
        yield problem(
            "proxy", "nodes", "no agent has registered",
            "Check that agents run beside the nodes and that their proxy address points here.",
        )  # fmt: skip
    for node in sorted(cluster.nodes, key=lambda node: (node.role, node.node_id)):
        yield from of_node(node, cluster.generated_at)


def of_node(node: Node, generated_at: str) -> Iterator[Finding]:
    """Yield what is wrong with one node; of an offline one only that, all else is old news."""
    if node.phase is NodePhase.OFFLINE:
        yield _offline(node)
        return
    is_new = passed_s(node.registered_at, generated_at) < SETTLING_S
    yield from _life(node, is_new=is_new)
    yield from _clock_of_node(node, generated_at)
    for condition in node.conditions:
        yield problem(
            node.node_id,
            condition.type or "condition",
            _because(condition.reason, condition.message),
            advice_for(condition.reason) or "Read the agent's log around this time.",
        )
    for capability in node.capabilities:
        if capability.state != "Supported":
            yield _capability(node, capability, is_new=is_new)


def _offline(node: Node) -> Finding:
    age = span(node.heartbeat_age_seconds)
    return problem(node.node_id, "offline", f"last heartbeat: {age} ago", advice_for("Offline"))


def _life(node: Node, *, is_new: bool) -> Iterator[Finding]:
    age_s = node.heartbeat_age_seconds
    if age_s > HEARTBEAT_LIMIT_S:
        yield problem(
            node.node_id, "heartbeat", f"the last one came {span(age_s)} ago",
            "The agent is slow or cut off: look at its CPU limit and at the network between.",
        )  # fmt: skip
    if node.phase is NodePhase.DEGRADED and not node.conditions:
        yield problem(
            node.node_id, "degraded", "the agent names no condition", "Read the agent's log."
        )
    if not node.role or node.role.endswith("UNSPECIFIED"):
        yield problem(
            node.node_id, "role", "the agent does not know the role of its node",
            "Check that the agent reaches the node's gRPC port, or set the role by hand.",
        )  # fmt: skip
    if node.window is None and node.contract is not Contract.FODC:
        level = Level.NOTE if is_new else Level.PROBLEM
        advice = _WAIT if is_new else "Check that the agent reaches the node's /metrics."
        why = "the flight recorder holds nothing yet" if is_new else "the flight recorder is empty"
        yield Finding(level, node.node_id, "window", why, advice)
    if not node.capabilities:
        yield note(
            node.node_id, "capabilities", "the agent declares none (existing Go agent)",
            "Captures on demand need the agent of this product.",
        )  # fmt: skip


def _clock_of_node(node: Node, generated_at: str) -> Iterator[Finding]:
    """Samples from the future show a clock that runs ahead; behind cannot be told from silence."""
    ahead_s = passed_s(generated_at, node.window.newest) if node.window else 0.0
    if ahead_s > CLOCK_LIMIT_S:
        yield problem(
            node.node_id, "clock", f"its newest sample is {span(ahead_s)} in the proxy's future",
            "Synchronize the clocks (NTP) of node and proxy.",
        )  # fmt: skip


def _capability(node: Node, capability: Capability, *, is_new: bool) -> Finding:
    is_unknown = capability.state == "Unknown"
    if is_unknown and is_new:
        return note(node.node_id, f"{capability.kind}: not read yet", capability.message, _WAIT)
    return Finding(
        Level.PROBLEM if is_unknown else Level.NOTE,
        node.node_id,
        f"{capability.kind}: {capability.state}",
        _because(capability.reason, capability.message),
        advice_for(capability.reason) or advice_for(capability.state) or "See the agent's log.",
    )


def of_configuration(configurations: Configurations) -> Iterator[Finding]:
    """Yield which nodes did not tell their configuration, or only an old one."""
    for each in sorted(configurations.missing, key=lambda missing: missing.node_id):
        level = Level.NOTE if each.reason in {"Unsupported", "Disabled"} else Level.PROBLEM
        yield Finding(
            level, each.node_id, "configuration", _because(each.reason, each.message),
            advice_for(each.reason) or "Check that the agent reaches the node.",
        )  # fmt: skip
    for node in configurations.nodes:
        if node.stale:
            yield note(
                node.node_id, "configuration", "what the proxy has is stale",
                "The node did not answer this time; see its other rows.",
            )  # fmt: skip
        for condition in node.conditions:
            yield note(
                node.node_id, "configuration", _because(condition.reason, condition.message),
                advice_for(condition.reason) or "A part of the configuration is missing.",
            )  # fmt: skip


# ---- the report -----------------------------------------------------------------------------


def joined(findings: Iterable[Finding]) -> list[Finding]:
    """Return problems first, and once what nodes, or matters of a node, have in common."""
    places: dict[Finding, list[str]] = {}
    for finding in sorted(findings, key=lambda finding: finding.level is not Level.PROBLEM):
        places.setdefault(replace(finding, where=""), []).append(finding.where)
    matters: dict[Finding, list[str]] = {}
    for finding, names in places.items():
        row = replace(finding, where=", ".join(names), matter="")
        matters.setdefault(row, []).append(finding.matter)
    return [replace(row, matter=_together(words)) for row, words in matters.items()]


def _together(matters: Sequence[str]) -> str:
    """Return `cpu, heap: Disabled` for `cpu: Disabled` and `heap: Disabled`."""
    kinds = dict.fromkeys(matter.partition(": ")[0] for matter in matters)
    states = dict.fromkeys(matter.partition(": ")[2] for matter in matters)
    if len(states) > 1:
        return ", ".join(matters)
    return ": ".join(word for word in (", ".join(kinds), *states) if word)


def table_of(findings: Iterable[Finding]) -> Table:
    """Return the report, problems first, each group in the order in which it was found."""
    columns = (
        Column("LEVEL", toned=True),
        Column("WHERE", wraps=True, whole=True),
        Column("WHAT", wraps=True),
        Column("WHY", wraps=True),
        Column("ADVICE", wraps=True),
    )
    rows = (
        (finding.level.value, finding.where, finding.matter, finding.why, finding.advice)
        for finding in joined(findings)
    )
    return Table(columns, tuple(rows))


def summary_of(findings: Sequence[Finding]) -> str:
    """Return the line under the report."""
    if not findings:
        return "all is well: proxy ready, all nodes online and whole"
    rows = joined(findings)
    problems = sum(finding.level is Level.PROBLEM for finding in rows)
    return f"{counted(problems, 'problem')}, {counted(len(rows) - problems, 'note')}"


def document_of(findings: Iterable[Finding]) -> list[Json]:
    """Return the report for `-o json`, one entry per node and matter."""
    return [dict(asdict(finding)) for finding in findings]

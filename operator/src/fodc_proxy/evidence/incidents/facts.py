# SPDX-License-Identifier: Apache-2.0
"""What is told of a node by whom, in one shape; pure.

The one idea: an agent, the kubelet, a crash and a comparison of schemas tell of the same thing in
different words; here they become facts that differ in what they prove.  All foreign texts are
cleaned here once more for secrets: what is kept longest is read by most.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fodc_api.words import IncidentCause
from fodc_protocol.ids import is_id
from fodc_protocol.occurrences import (
    FIELDS,
    MOST_CAPTURES,
    Field,
    OccurrenceKind,
    captures_text,
    captures_told,
)
from fodc_protocol.redaction import redact_foreign
from fodc_proxy.evidence.findings import KeptCrash, KeptPressure, Origin, occurred_ms, record_id
from fodc_proxy.evidence.incidents.model import ContainerEnd, Held, Mark, Node, OwnCapture
from fodc_proxy.evidence.incidents.occurrence import Occurrence
from fodc_proxy.evidence.incidents.schema import Mismatch
from fodc_proxy.fleet.membership import Member

AGENT: Final = "agent"
KUBELET: Final = "kubelet"
PROXY: Final = "proxy"
LOG: Final = "log"
"""Kind of artifact: the end of what a container has written before it ended."""
CONTAINER_ENDED: Final = "container-ended"
_MESSAGE_CHARACTERS: Final = 512
_FIELD_CHARACTERS: Final = 256


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was told of a node; `cause` is None for what opens no incident by itself."""

    node: Node
    mark: Mark
    at_ms: int
    kind: str
    told_by: str
    cause: IncidentCause | None
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)
    captures: tuple[OwnCapture, ...] = ()
    artifacts: tuple[Held, ...] = ()
    container_end: ContainerEnd | None = None
    neighbours: tuple[str, ...] = ()
    gap: int = 0


# ---- agents -------------------------------------------------------------------------------------

_CAUSES: Final[Mapping[OccurrenceKind, IncidentCause | None]] = {
    OccurrenceKind.NODE_GONE: IncidentCause.PROCESS_GONE,
    OccurrenceKind.NODE_RESTARTED: IncidentCause.PROCESS_GONE,
    OccurrenceKind.NODE_UNREACHABLE: IncidentCause.UNREACHABLE,
    OccurrenceKind.NODE_BACK: None,
    OccurrenceKind.MEMORY_PRESSURE: IncidentCause.MEMORY_PRESSURE,
    OccurrenceKind.OOM_KILL: IncidentCause.OOM_KILLED,
    OccurrenceKind.CRASH: IncidentCause.CRASHED,
    OccurrenceKind.TRIGGER: IncidentCause.TRIGGERED,
    OccurrenceKind.OTHER: IncidentCause.OTHER,
}


def node_of(origin: Origin, machine: str = "") -> Node:
    """Return the node of an agent."""
    return Node(origin.namespace, origin.pod_name, origin.role, machine)


def agent_source(incarnation: str) -> str:
    """Return what an agent's occurrences are counted by."""
    return f"{AGENT}:{incarnation}"


def of_occurrence(told: Occurrence, machine: str = "") -> Fact:
    """Return what an agent has told."""
    known = FIELDS[told.kind]
    fields = {str(name): _field(told.fields[name]) for name in known if name in told.fields}
    captures = _captures(told.fields)
    fields.pop(Field.CAPTURES, None)
    if told.kind is OccurrenceKind.MEMORY_PRESSURE and captures:
        # Which of several times at which memory was short the profiles are of.
        fields[Field.CAPTURES] = captures_text((one.profile, one.command_id) for one in captures)
    return Fact(
        node_of(told.origin, machine),
        Mark(agent_source(told.incarnation), told.sequence),
        told.occurred_at_ms,
        str(told.kind),
        AGENT,
        _CAUSES[told.kind],
        _message(told.message),
        fields,
        captures=captures,
        gap=told.gap,
    )


def _captures(fields: Mapping[str, str]) -> tuple[OwnCapture, ...]:
    named = {command: profile for profile, command in captures_told(fields) if is_id(command)}
    found = [OwnCapture(profile, command) for command, profile in named.items()]
    return tuple(found[:MOST_CAPTURES])


def _message(text: str) -> str:
    return redact_foreign(text, _MESSAGE_CHARACTERS)


def _field(text: str) -> str:
    return redact_foreign(text, _FIELD_CHARACTERS)


# ---- what nodes left behind ---------------------------------------------------------------------


def of_crash(kept: KeptCrash, now_ms: int) -> Fact:
    """Return what a stored crash tells: by an agent of either contract."""
    record = kept.crash.panic_record
    words = "a panic" if record is None else f"panic in {record.component}: {record.panic_value}"
    return Fact(
        node_of(kept.origin),
        Mark(f"crash:{kept.name}", 1),
        occurred_ms(kept) or now_ms,
        "crash-found",
        PROXY,
        IncidentCause.CRASHED,
        _message(words),
        {str(Field.CRASH): _field(kept.name)},
        artifacts=(Held(record_id(kept), "crash"),),
    )


def of_pressure(kept: KeptPressure, profiles: Mapping[str, str], now_ms: int) -> Fact:
    """Return what a stored pressure event tells; `profiles` are ids of artifacts by kind."""
    event = kept.event
    held = [Held(id_, kind) for kind, id_ in profiles.items()]
    return Fact(
        node_of(kept.origin),
        Mark(f"pressure:{kept.name}", 1),
        occurred_ms(kept) or now_ms,
        "pressure-event",
        PROXY,
        IncidentCause.MEMORY_PRESSURE,
        f"{event.rss_bytes} of {event.cgroup_limit_bytes} bytes are resident, profiles are taken "
        f"at {event.trigger_percent} %",
        artifacts=(Held(record_id(kept), "pressure"), *held),
    )


# ---- schema -------------------------------------------------------------------------------------


def of_schema(member: Member, told: Mismatch, now_ms: int) -> Fact:
    """Return that a node has another schema than the registry, which lasts until it has not."""
    more = f" and {told.issues - 1} more" if told.issues > 1 else ""
    machine = member.identity.kubernetes_node
    return Fact(
        Node(member.namespace, member.pod_name, member.role, machine),
        Mark(f"schema:{told.group}", 0),
        now_ms,
        "schema-mismatch",
        PROXY,
        IncidentCause.SCHEMA_MISMATCH,
        _message(f"group {told.group} differs from the registry: {told.example}{more}"),
    )


# ---- pods ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PodTold:
    """How the process of a node's container ended, as the API server tells it."""

    node: Node
    pod_uid: str
    end: ContainerEnd
    neighbours: tuple[str, ...] = ()
    log: str = ""
    """The end of what it wrote, without secrets."""
    log_missing: str = ""
    """Why there is none."""


def pod_source(pod_uid: str, container: str) -> str:
    """Return what the ends of a container are counted by."""
    return f"pod:{pod_uid}/{container}"


def of_pod(told: PodTold, log: Held | None, now_ms: int) -> Fact:
    """Return what the kubelet has told; `log` is where the end of its words is stored."""
    end = told.end
    return Fact(
        told.node,
        Mark(pod_source(told.pod_uid, end.container), max(1, end.restarts)),
        now_ms if end.finished_at_ms is None else end.finished_at_ms,
        CONTAINER_ENDED,
        KUBELET,
        _cause_of(end),
        _ended(told),
        {"log": told.log_missing[:_FIELD_CHARACTERS]} if told.log_missing else {},
        artifacts=() if log is None else (log,),
        container_end=end,
        neighbours=told.neighbours,
    )


def _cause_of(end: ContainerEnd) -> IncidentCause:
    if end.reason == "OOMKilled":
        return IncidentCause.OOM_KILLED
    return IncidentCause.KILLED if signal_of(end) else IncidentCause.EXITED


def signal_of(end: ContainerEnd) -> int:
    """Return the signal that ended the process, 0 for none: runtimes tell 128 more as exit code."""
    return end.signal or (end.exit_code - 128 if 128 < end.exit_code < 192 else 0)


def _ended(told: PodTold) -> str:
    end, signal = told.end, signal_of(told.end)
    by = f" by signal {signal}" if signal else ""
    said = f": {_message(end.message)}" if end.message else ""
    return (
        f"container {end.container} ended{by} with exit code {end.exit_code} ({end.reason}){said}"
    )

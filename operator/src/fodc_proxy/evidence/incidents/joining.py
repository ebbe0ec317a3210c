# SPDX-License-Identifier: Apache-2.0
"""An incident with one thing more; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fodc_api.words import IncidentCause
from fodc_proxy.evidence.incidents.facts import Fact
from fodc_proxy.evidence.incidents.model import (
    FIRST_LINES,
    MOST_ARTIFACTS,
    MOST_CHANGES,
    MOST_LINES,
    MOST_MARKS,
    MOST_NEIGHBOURS,
    Change,
    Held,
    Incident,
    Line,
    Mark,
    Node,
    OwnCapture,
)


def opened(fact: Fact, incident_id: str, now_ms: int) -> Incident:
    """Return the incident that a fact opens."""
    cause = fact.cause or IncidentCause.OTHER
    return Incident(
        id=incident_id,
        node=fact.node,
        causes=(cause,),
        message=fact.message,
        first_at_ms=fact.at_ms,
        last_at_ms=fact.at_ms,
        opened_at_ms=now_ms,
        heard_at_ms=now_ms,
        tally={f"{cause}/{fact.kind}": 1},
        marks=(fact.mark,),
        lines=(_line(fact),),
        container_end=fact.container_end,
        captures=fact.captures,
        artifacts=fact.artifacts,
        neighbours=fact.neighbours,
    )


def joined(known: Incident, fact: Fact, now_ms: int) -> Incident:
    """Return the incident with a fact that it did not have."""
    causes = _causes((*known.causes, *([] if fact.cause is None else [fact.cause])))
    lines, omitted = _lines((*known.lines, _line(fact)))
    tells = fact.cause is causes[0]
    return replace(
        known,
        node=_node(known.node, fact.node),
        causes=causes,
        message=fact.message if tells else known.message,
        first_at_ms=min(known.first_at_ms, fact.at_ms),
        last_at_ms=max(known.last_at_ms, fact.at_ms),
        heard_at_ms=now_ms,
        tally=_tally(known.tally, fact),
        marks=_marks(known.marks, fact.mark),
        lines=lines,
        lines_omitted=known.lines_omitted + omitted,
        container_end=fact.container_end or known.container_end,
        captures=_captures(known.captures, fact.captures),
        artifacts=_artifacts(known.artifacts, fact.artifacts),
        neighbours=_few((*known.neighbours, *fact.neighbours)),
        revision=known.revision + 1,
    )


def holding(known: Incident, held: Held) -> Incident:
    """Return the incident with an artifact."""
    if held.artifact_id in known.artifact_ids:
        return known
    return replace(known, artifacts=_artifacts(known.artifacts, (held,)))


def with_outcome(known: Incident, command_id: str, artifact_id: str, failed: str) -> Incident:
    """Return the incident with what came of a capture that its agent took by itself."""
    done = tuple(
        replace(one, artifact_id=artifact_id, failed=failed)
        if one.command_id == command_id
        else one
        for one in known.captures
    )
    return replace(known, captures=done)


def surrounded(known: Incident, changes: Iterable[Change], neighbours: Iterable[str]) -> Incident:
    """Return the incident with what was before, and who else is on the machine."""
    found = sorted(dict.fromkeys((*known.changes, *changes)), key=lambda one: one.at_ms)
    return replace(
        known,
        changes=tuple(found[-MOST_CHANGES:]),
        neighbours=_few((*known.neighbours, *neighbours)),
    )


def _line(fact: Fact) -> Line:
    return Line(fact.at_ms, fact.kind, fact.told_by, fact.message, fact.fields)


def _lines(lines: tuple[Line, ...]) -> tuple[tuple[Line, ...], int]:
    """Return the first and the last lines by their times, and how many of the others went."""
    ordered = tuple(sorted(lines, key=lambda one: one.at_ms))
    omitted = max(0, len(ordered) - MOST_LINES)
    return (*ordered[:FIRST_LINES], *ordered[FIRST_LINES + omitted :]), omitted


def _causes(told: Iterable[IncidentCause]) -> tuple[IncidentCause, ...]:
    return tuple(sorted(set(told), key=lambda one: one.rank))


def _node(known: Node, told: Node) -> Node:
    """Return the node with what either of both tells."""
    return replace(known, role=told.role or known.role, machine=told.machine or known.machine)


def _tally(known: Mapping[str, int], fact: Fact) -> Mapping[str, int]:
    if fact.cause is None:
        return known
    name = f"{fact.cause}/{fact.kind}"
    return {**known, name: known.get(name, 0) + 1}


def _marks(known: tuple[Mark, ...], mark: Mark) -> tuple[Mark, ...]:
    """Return the marks with a newer one; of too many the oldest go."""
    others = tuple(one for one in known if one.source != mark.source)
    return (*others, mark)[-MOST_MARKS:]


def _captures(
    known: tuple[OwnCapture, ...], told: tuple[OwnCapture, ...]
) -> tuple[OwnCapture, ...]:
    ids = {one.command_id for one in known}
    new = (one for one in told if one.command_id not in ids)
    return (*known, *new)[:MOST_ARTIFACTS]


def _artifacts(known: tuple[Held, ...], told: Iterable[Held]) -> tuple[Held, ...]:
    """Return the artifacts with new ones; of too many the oldest but the first few go."""
    found = {one.artifact_id: one for one in (*known, *told)}
    kept = list(found.values())
    omitted = max(0, len(kept) - MOST_ARTIFACTS)
    return (*kept[:FIRST_LINES], *kept[FIRST_LINES + omitted :])


def _few(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))[:MOST_NEIGHBOURS]

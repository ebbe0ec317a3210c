# SPDX-License-Identifier: Apache-2.0
"""Which nodes have another schema than the registry, out of a comparison of all of them; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from fodc_api.lifecycle import SchemaIssue
from fodc_proxy.evidence.lifecycle import Judged


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A group that a node has otherwise: in how many objects, and one of them in words."""

    node: str
    group: str
    issues: int
    example: str


def mismatches(verdicts: Iterable[Judged]) -> tuple[Mismatch, ...]:
    """Return what differs, by group and node."""
    return tuple(
        Mismatch(node, judged.group.name, len(issues), _words(issues[0]))
        for judged in verdicts
        for node, issues in _by_node(judged).items()
    )


def _by_node(judged: Judged) -> dict[str, list[SchemaIssue]]:
    found: dict[str, list[SchemaIssue]] = {}
    verdict = judged.group.schema_consistency
    for issue in () if verdict is None else verdict.issues:
        found.setdefault(issue.node, []).append(issue)
    return found


def _words(issue: SchemaIssue) -> str:
    what = str(issue.type).removeprefix("SCHEMA_ISSUE_TYPE_").replace("_", " ").lower()
    return f"{issue.kind} {issue.name} ({what})"

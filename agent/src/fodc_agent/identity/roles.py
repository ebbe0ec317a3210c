# SPDX-License-Identifier: Apache-2.0
"""Which role a node has, and when a new answer replaces an old one.

The one idea: an answer without a role is no news. A lifecycle sidecar and a node that is starting
both answer without one, and neither may overwrite what is known (W-17, §13.3).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Final

from fodc_protocol.lean import dataclass

UNSPECIFIED: Final = "ROLE_UNSPECIFIED"
# Numbers of banyandb.database.v1.Role.
_NAMED: Final[Mapping[int, str]] = {3: "ROLE_LIAISON", 2: "ROLE_DATA"}
_COMMANDS: Final[Mapping[str, str]] = {
    "data": "ROLE_DATA",
    "liaison": "ROLE_LIAISON",
    "standalone": "ROLE_DATA",
}

_NO_LABELS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known about the node; `name` is its own, mostly host:port."""

    role: str = UNSPECIFIED
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    name: str = ""


def role_of(roles: Iterable[int] | None) -> str:
    """Return the first of LIAISON and DATA in the node's list; else ROLE_UNSPECIFIED (T-CL-03).

    A standalone node lists META, DATA, LIAISON and is known as ROLE_DATA ("Corrections" 9).
    """
    return next((_NAMED[number] for number in roles or () if number in _NAMED), UNSPECIFIED)


def role_of_command(command: Sequence[str]) -> str:
    """Return the role that the node's first command word says: `banyand data …` (§3.1)."""
    return _COMMANDS.get(command[0], UNSPECIFIED) if command else UNSPECIFIED


def labels_of(text: str) -> dict[str, str]:
    """Return the labels of a node's `--node-labels type=hot,zone=a`; what is no pair is left out.

    Brackets and blanks around it are how lists are written in files.
    """
    pairs = (part.strip().partition("=") for part in text.strip(" []").split(","))
    return dict(sorted((name.strip(), value.strip()) for name, sep, value in pairs if name and sep))


def best_of(answers: Iterable[NodeFacts]) -> NodeFacts | None:
    """Return the first answer with a role, else the first one (W-17); None without any."""
    known = list(answers)
    return next((one for one in known if one.role != UNSPECIFIED), known[0] if known else None)


def updated(known: NodeFacts, news: NodeFacts) -> NodeFacts:
    """Return what is known after `news`: labels are refreshed, a role is never lost (W-15)."""
    if news.role == UNSPECIFIED and known.role != UNSPECIFIED:
        return known
    return news


def told_first(told: NodeFacts, news: NodeFacts) -> NodeFacts:
    """Return news in which role and labels that a person told come first, each for itself."""
    role = news.role if told.role == UNSPECIFIED else told.role
    return NodeFacts(role, {**news.labels, **told.labels}, news.name)

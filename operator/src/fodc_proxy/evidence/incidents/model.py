# SPDX-License-Identifier: Apache-2.0
"""What an incident is: values only, the rules about them stand beside; pure.

The one idea: an incident is a frozen value with all that is known of it, so that what was stored,
shown or sent never changes behind anybody's back.  Times are Unix milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fodc_api.words import IncidentCause, IncidentPhase
from fodc_proxy.fleet.naming import address_of

MOST_LINES: Final = 64
"""How many lines are kept of one incident: its first ones and its last ones."""
FIRST_LINES: Final = 16
MOST_ARTIFACTS: Final = 128
MOST_MARKS: Final = 256
MOST_CHANGES: Final = 32
MOST_NEIGHBOURS: Final = 32


@dataclass(frozen=True, slots=True)
class Node:
    """To whom it happened; `machine` is the Kubernetes node, empty where it is not known."""

    namespace: str
    pod_name: str
    role: str = ""
    machine: str = ""

    @property
    def address(self) -> str:
        """Where the node is, or was."""
        return address_of(self.namespace, self.pod_name)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a source has told: up to `number`, when its numbers ascend.

    A source is an incarnation of an agent, a container of a pod, one crash. `number` is 0 for a
    state that lasts, which is told again and again.
    """

    source: str
    number: int


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was told."""

    at_ms: int
    kind: str
    source: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How a container's process ended, as the kubelet tells it; `restarts` counts its ends."""

    container: str
    reason: str
    exit_code: int
    signal: int
    message: str
    restarts: int
    started_at_ms: int | None
    finished_at_ms: int | None


@dataclass(frozen=True, slots=True)
class OwnCapture:
    """A capture that an agent has taken by itself; fetched under the agent's own id for it.

    `artifact_id` is there when it is stored; `failed` says why it never will be.
    """

    profile: str
    command_id: str
    artifact_id: str = ""
    failed: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is still to come."""
        return not self.artifact_id and not self.failed


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was changed at a node."""

    at_ms: int
    what: str


@dataclass(frozen=True, slots=True)
class Held:
    """An artifact that belongs to an incident, whether or not it is still there."""

    artifact_id: str
    profile: str


@dataclass(frozen=True, slots=True)
class Incident:
    """What happened to one node at one time; `revision` grows with each change.

    `tally` counts by cause and kind of what was told; `marks` say what of it is known already.
    """

    id: str
    node: Node
    causes: tuple[IncidentCause, ...]
    message: str
    first_at_ms: int
    last_at_ms: int
    opened_at_ms: int
    heard_at_ms: int
    closed_at_ms: int | None = None
    tally: Mapping[str, int] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    lines: tuple[Line, ...] = ()
    lines_omitted: int = 0
    container_end: ContainerEnd | None = None
    captures: tuple[OwnCapture, ...] = ()
    artifacts: tuple[Held, ...] = ()
    changes: tuple[Change, ...] = ()
    neighbours: tuple[str, ...] = ()
    revision: int = 1

    @property
    def address(self) -> str:
        """Where the node is, or was."""
        return self.node.address

    @property
    def cause(self) -> IncidentCause:
        """The strongest cause that was told."""
        return self.causes[0]

    @property
    def phase(self) -> IncidentPhase:
        """Whether more may come."""
        return IncidentPhase.OPEN if self.closed_at_ms is None else IncidentPhase.CLOSED

    @property
    def count(self) -> int:
        """How often it happened: what most often told of the cause counts, not all that did."""
        told = (n for name, n in self.tally.items() if name.startswith(f"{self.cause}/"))
        return max(told, default=1)

    @property
    def artifact_ids(self) -> frozenset[str]:
        """Ids of all artifacts that it holds."""
        own = {one.artifact_id for one in self.captures if one.artifact_id}
        return frozenset(own | {one.artifact_id for one in self.artifacts})

# SPDX-License-Identifier: Apache-2.0
"""What one agent answers of each kind of evidence, pure.

The one idea: the words of the API are the domain's; only what is sent in pieces or belongs to the
answer as a whole stands here.
"""

from dataclasses import dataclass
from typing import TypeAlias

from fodc_api.findings import PanicRecord
from fodc_api.lifecycle import Fingerprint, Group, Report
from fodc_api.topology import TopologyCall, TopologyNode


@dataclass(frozen=True, slots=True)
class Topology:
    """The cluster as one agent sees it; `size_bytes` is its length on the wire."""

    nodes: tuple[TopologyNode, ...]
    calls: tuple[TopologyCall, ...]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Reports of a pod, and groups with what nodes have of their schema.

    The schema of a group lists objects as nodes have them; what the registry has is not in it.
    `told_at_ms` is Unix time.
    """

    pod_name: str
    reports: tuple[Report, ...]
    groups: tuple[Group, ...]
    told_at_ms: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RegistryGroup:
    """Fingerprints of a group by kind and name as the registry has them, or why there are none."""

    objects: dict[tuple[str, str], Fingerprint]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Registry:
    """All groups of the registry by name, or in `fatal` why it could not be read."""

    groups: dict[str, RegistryGroup]
    fatal: str = ""


Part: TypeAlias = Topology | Lifecycle | Registry


# ---- what is told of crashes and pressure -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CrashTold:
    """One crash as an agent tells it; whose it is, the proxy knows."""

    fetched_at: str
    source_endpoint: str
    artifact_dir: str
    panic_record: PanicRecord | None
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListEnd:
    """All events of a question have been told."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a profile, or in `error` why there is none."""

    request_id: str
    data: bytes
    last: bool
    error: str

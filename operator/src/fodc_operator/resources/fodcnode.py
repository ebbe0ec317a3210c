# SPDX-License-Identifier: Apache-2.0
"""FodcNode as the API server gives it, read once into a typed view; and what may stand in it.

The one idea: agents say what they like, so every text and number that goes into an object is cut
to what its schema admits; an object of ours is never refused for what an agent said.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from fodc_kube.texts import time_ms


class NodePhase(StrEnum):
    """Where the agent of a node stands, as people see it."""

    PENDING = "Pending"
    """Known from before, not heard yet since this operator leads."""
    ONLINE = "Online"
    DEGRADED = "Degraded"
    OFFLINE = "Offline"
    LOST = "Lost"
    """Gone for longer than the cleanup timeout; the object stays until the retention is over."""

    @property
    def is_living(self) -> bool:
        """Whether heartbeats arrive."""
        return self in {NodePhase.ONLINE, NodePhase.DEGRADED}


class Attachment(StrEnum):
    """Where the agent of a node is."""

    SIDECAR = "Sidecar"
    """In the pod of the node."""
    REMOTE = "Remote"
    """In a pod of its own; it reaches the node's ports over the network and sees nothing else."""
    STANDALONE = "Standalone"
    """Beside a node that is no pod."""


class NodeRole(StrEnum):
    """Role of a node in its BanyanDB cluster."""

    DATA = "Data"
    LIAISON = "Liaison"
    META = "Meta"
    STANDALONE = "Standalone"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Observed:
    """A FodcNode as the API server holds it; times in Unix milliseconds."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created_ms: int
    maintenance: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[Mapping[str, Any], ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def phase(self) -> NodePhase | None:
        """Phase in its status, None for an object without one or with one of a later version."""
        try:
            return NodePhase(self.status.get("phase", ""))
        except ValueError:
            return None

    @property
    def heard_ms(self) -> int:
        """Last heartbeat that was written, else when the object was made."""
        return time_ms(self.status.get("lastHeartbeatTime")) or self.created_ms


def observed(body: Mapping[str, Any]) -> Observed:
    """Read an answer of the API server; raises KeyError for what is no object of the server's."""
    meta, spec = body["metadata"], body.get("spec") or {}
    return Observed(
        namespace=str(meta["namespace"]),
        name=str(meta["name"]),
        uid=str(meta.get("uid", "")),
        resource_version=str(meta.get("resourceVersion", "")),
        generation=int(meta.get("generation", 0)),
        created_ms=time_ms(meta.get("creationTimestamp")),
        maintenance=bool(spec.get("maintenance", False)),
        labels=dict(meta.get("labels") or {}),
        owners=tuple(meta.get("ownerReferences") or ()),
        status={sys.intern(k): _shared(v) for k, v in (body.get("status") or {}).items()},
    )


MOST_SHARED: Final = 4096
"""Different parts that are kept to be shared; others are kept for each object."""


def _shared(value: object) -> object:
    """Return the same, where what many objects say alike is there once: nobody changes a status.

    A thousand nodes have the same capabilities, and each reading makes all its words anew.
    """
    match value:
        case list():
            return [_shared(one) for one in value]
        case dict():
            return _part(json.dumps(value))
        case str():
            return sys.intern(value)
        case _:
            return value


@lru_cache(MOST_SHARED)
def _part(written: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(written)
    return {sys.intern(key): _shared(value) for key, value in found.items()}

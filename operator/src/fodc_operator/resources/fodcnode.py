# SPDX-License-Identifier: Apache-2.0
"""FodcNode as the API server gives it, read once into a typed view; and what may stand in it.

The one idea: agents say what they like, so every text and number that goes into an object is cut
to what its schema admits; an object of ours is never refused for what an agent said.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from fodc_protocol.times import TimeError, format_rfc3339, parse_rfc3339_ms

LABEL_PREFIX: Final = "fodc.banyandb.dev"
MOST_INT64: Final = 2**63 - 1
_LAST_MS: Final = 253_402_300_799_000
_LABEL_JUNK: Final = re.compile(r"[^A-Za-z0-9._-]+")
_CONDITION_PARTS: Final = re.compile(r"[A-Za-z0-9]+")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


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
    pod_uid: str = ""
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
        return _time_ms(self.status.get("lastHeartbeatTime")) or self.created_ms


def observed(body: Mapping[str, Any]) -> Observed:
    """Read an answer of the API server; raises KeyError for what is no object of the server's."""
    meta, spec = body["metadata"], body.get("spec") or {}
    pod = spec.get("podRef") or {}
    return Observed(
        namespace=str(meta["namespace"]),
        name=str(meta["name"]),
        uid=str(meta.get("uid", "")),
        resource_version=str(meta.get("resourceVersion", "")),
        generation=int(meta.get("generation", 0)),
        created_ms=_time_ms(meta.get("creationTimestamp")),
        pod_uid=str(pod.get("uid", "")),
        maintenance=bool(spec.get("maintenance", False)),
        labels=dict(meta.get("labels") or {}),
        owners=tuple(meta.get("ownerReferences") or ()),
        status=dict(body.get("status") or {}),
    )


def _time_ms(text: object) -> int:
    try:
        return parse_rfc3339_ms(text) if isinstance(text, str) else 0
    except TimeError:
        return 0


# ---- what fits --------------------------------------------------------------------------------


def is_name(text: str) -> bool:
    """Whether an object may be called so (DNS subdomain)."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


def is_namespace(text: str) -> bool:
    """Whether a namespace may be called so (DNS label)."""
    return len(text) <= 63 and _NAMESPACE.fullmatch(text) is not None


def label_value(text: str) -> str:
    """Return the nearest value that a label may have, perhaps empty."""
    return _LABEL_JUNK.sub("-", text)[:63].strip("._-")


def condition_type(text: str) -> str:
    """Return the nearest CamelCase name of a condition, empty when there is none."""
    words = _CONDITION_PARTS.findall(text)
    name = "".join(word[:1].upper() + word[1:] for word in words).lstrip("0123456789")
    return (name[:1].upper() + name[1:])[:64]


def cut(text: str, longest: int) -> str:
    """Return the text, its end replaced by an ellipsis when it is too long."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def count(number: int) -> int:
    """Return a number that fits an int64 that is not negative."""
    return max(0, min(number, MOST_INT64))


def time_of(time_ms: int) -> str | None:
    """Return a date-time to the second, None for what is no time."""
    return format_rfc3339(time_ms // 1000) if 0 < time_ms <= _LAST_MS else None

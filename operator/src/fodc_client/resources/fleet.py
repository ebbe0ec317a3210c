# SPDX-License-Identifier: Apache-2.0
"""The nodes and the proxy: GET /cluster, /readyz, /version."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fodc_client.reading import Fields


@dataclass(frozen=True, slots=True)
class Capability:
    """Whether a node can give one kind of diagnostics, and why not."""

    kind: str
    state: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that makes a node less than whole."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class WindowExtent:
    """What the flight recorder of a node holds."""

    oldest: datetime | None
    newest: datetime | None
    series: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ActiveCapture:
    """A capture that runs on a node now."""

    request_id: str
    profile: str
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class Node:
    """One node as its agent and the proxy see it."""

    node_id: str
    agent_id: str
    pod_name: str
    namespace: str
    role: str
    tier: str
    phase: str
    contract: str
    agent_version: str
    registered_at: datetime | None
    last_heartbeat_at: datetime | None
    heartbeat_age_s: float | None
    labels: Mapping[str, str]
    container_names: tuple[str, ...]
    addresses: tuple[Address, ...]
    capabilities: tuple[Capability, ...]
    window: WindowExtent | None
    configuration_hash: str
    artifact_count: int
    artifact_bytes: int
    conditions: tuple[Condition, ...]
    active_captures: tuple[ActiveCapture, ...]
    reconnects: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """GET /cluster."""

    generated_at: datetime | None
    proxy_version: str
    uptime_s: float
    total: int
    online: int
    degraded: int
    offline: int
    by_role: Mapping[str, int]
    nodes: tuple[Node, ...]


def read_cluster(fields: Fields) -> Cluster:
    """Read the answer of GET /cluster."""
    proxy, summary = fields.child("proxy"), fields.child("summary")
    return Cluster(
        generated_at=fields.time("generated_at"),
        proxy_version=proxy.text_or("version"),
        uptime_s=proxy.number("uptime_seconds"),
        total=summary.integer("total"),
        online=summary.integer("online"),
        degraded=summary.integer("degraded"),
        offline=summary.integer("offline"),
        by_role=summary.integer_map("by_role"),
        nodes=fields.items("nodes", _read_node),
    )


def _read_node(fields: Fields) -> Node:
    window, artifacts = fields.child_or_none("window"), fields.child("artifacts")
    return Node(
        node_id=fields.text("node_id"),
        agent_id=fields.text_or("agent_id"),
        pod_name=fields.text_or("pod_name"),
        namespace=fields.text_or("namespace"),
        role=fields.text_or("role"),
        tier=fields.text_or("tier"),
        phase=fields.text("phase"),
        contract=fields.text_or("contract"),
        agent_version=fields.text_or("agent_version"),
        registered_at=fields.time("registered_at"),
        last_heartbeat_at=fields.time("last_heartbeat_at"),
        heartbeat_age_s=fields.number_or_none("heartbeat_age_seconds"),
        labels=fields.text_map("labels"),
        container_names=fields.texts("container_names"),
        addresses=fields.items("addresses", _read_address),
        capabilities=fields.items("capabilities", _read_capability),
        window=None if window is None else _read_window(window),
        configuration_hash=fields.text_or("configuration_hash"),
        artifact_count=artifacts.integer("count"),
        artifact_bytes=artifacts.integer("bytes"),
        conditions=fields.items("conditions", read_condition),
        active_captures=fields.items("active_captures", _read_active),
        reconnects=fields.integer("reconnects"),
    )


def _read_address(fields: Fields) -> Address:
    return Address(fields.text_or("name"), fields.text_or("host"), fields.integer("port"))


def _read_capability(fields: Fields) -> Capability:
    return Capability(
        fields.text("kind"),
        fields.text_or("state", "Unknown"),
        fields.text_or("reason"),
        fields.text_or("message"),
    )


def read_condition(fields: Fields) -> Condition:
    """Read one condition."""
    return Condition(fields.text_or("type"), fields.text_or("reason"), fields.text_or("message"))


def _read_window(fields: Fields) -> WindowExtent:
    return WindowExtent(
        fields.time("oldest"),
        fields.time("newest"),
        fields.integer("series"),
        fields.integer("bytes"),
    )


def _read_active(fields: Fields) -> ActiveCapture:
    return ActiveCapture(
        fields.text_or("request_id"), fields.text_or("profile"), fields.time("started_at")
    )


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the proxy's readiness."""

    name: str
    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """GET /readyz."""

    ready: bool
    checks: tuple[Check, ...]


def read_readiness(fields: Fields) -> Readiness:
    """Read the answer of GET /readyz."""
    return Readiness(
        fields.flag("ready"),
        fields.items(
            "checks",
            lambda check: Check(check.text("name"), check.flag("ok"), check.text_or("message")),
        ),
    )


def read_version(fields: Fields) -> str:
    """Read the answer of GET /version."""
    return fields.text_or("version", "unknown")

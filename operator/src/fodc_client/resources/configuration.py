# SPDX-License-Identifier: Apache-2.0
"""Effective configuration and its drift: GET /cluster/config."""

from dataclasses import dataclass
from datetime import datetime

from fodc_client.reading import Fields
from fodc_client.resources.fleet import Condition, read_condition


@dataclass(frozen=True, slots=True)
class Missing:
    """A node that was asked and did not answer."""

    node_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One effective setting of a node."""

    name: str
    value: str
    source: str
    redacted: bool


@dataclass(frozen=True, slots=True)
class NodeConfiguration:
    """The effective configuration of one node."""

    node_id: str
    role: str
    hash: str
    epoch: int
    collected_at: datetime | None
    stale: bool
    entries: tuple[Entry, ...]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class DifferingValue:
    """One value of a setting and the nodes that have it; None means that it is not set."""

    value: str | None
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting in which the nodes of one role differ."""

    name: str
    kind: str
    majority: str | None
    values: tuple[DifferingValue, ...]


@dataclass(frozen=True, slots=True)
class RoleDrift:
    """How the nodes of one role differ."""

    role: str
    nodes: tuple[str, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Configurations:
    """GET /cluster/config: either `nodes` or, with diff=role, `roles` is filled."""

    generated_at: datetime | None
    asked: int
    answered: int
    missing: tuple[Missing, ...]
    nodes: tuple[NodeConfiguration, ...]
    roles: tuple[RoleDrift, ...]


def read_configurations(fields: Fields) -> Configurations:
    """Read the answer of GET /cluster/config."""
    return Configurations(
        generated_at=fields.time("generated_at"),
        asked=fields.integer("asked"),
        answered=fields.integer("answered"),
        missing=fields.items("missing", _read_missing),
        nodes=fields.items("nodes", _read_node_configuration),
        roles=fields.items("roles", _read_role_drift),
    )


def _read_missing(fields: Fields) -> Missing:
    return Missing(fields.text("node_id"), fields.text_or("reason"), fields.text_or("message"))


def _read_node_configuration(fields: Fields) -> NodeConfiguration:
    return NodeConfiguration(
        node_id=fields.text("node_id"),
        role=fields.text_or("role"),
        hash=fields.text_or("hash"),
        epoch=fields.integer("epoch"),
        collected_at=fields.time("collected_at"),
        stale=fields.flag("stale"),
        entries=fields.items("entries", _read_entry),
        conditions=fields.items("conditions", read_condition),
    )


def _read_entry(fields: Fields) -> Entry:
    return Entry(
        fields.text("name"),
        fields.text_or("value"),
        fields.text_or("source"),
        fields.flag("redacted"),
    )


def _read_role_drift(fields: Fields) -> RoleDrift:
    return RoleDrift(
        fields.text("role"), fields.texts("nodes"), fields.items("differences", _read_difference)
    )


def _read_difference(fields: Fields) -> Difference:
    return Difference(
        fields.text("name"),
        fields.text_or("kind", "drift"),
        _text_or_none(fields, "majority"),
        fields.items("values", _read_differing),
    )


def _read_differing(fields: Fields) -> DifferingValue:
    return DifferingValue(_text_or_none(fields, "value"), fields.texts("nodes"))


def _text_or_none(fields: Fields, name: str) -> str | None:
    missing = "\0"
    found = fields.text_or(name, missing)
    return None if found == missing else found

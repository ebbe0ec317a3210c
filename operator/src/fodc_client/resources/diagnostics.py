# SPDX-License-Identifier: Apache-2.0
"""Diagnostic requests: what was asked of which node, and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fodc_client.reading import Fields

ENDED_PHASES: Final = frozenset(
    {"Succeeded", "PartiallySucceeded", "Failed", "Cancelled", "Rejected", "Skipped"}
)


@dataclass(frozen=True, slots=True)
class Result:
    """One capture on one target."""

    capture: str
    profile: str
    phase: str
    reason: str
    message: str
    duration_s: float
    elapsed_s: float
    received_bytes: int
    size_bytes: int | None
    sha256: str
    samples: int | None
    format: str
    artifact_id: str
    empty: bool
    truncated: bool
    warnings: tuple[str, ...]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.phase in ENDED_PHASES


@dataclass(frozen=True, slots=True)
class Target:
    """One node of a request."""

    node_id: str
    agent_id: str
    role: str
    phase: str
    reason: str
    message: str
    attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many targets stand where."""

    targets: int
    pending: int
    running: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class Request:
    """A diagnostic request; the list of requests leaves `targets` empty."""

    id: str
    revision: int
    phase: str
    reason: str
    message: str
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    profiles: tuple[str, ...]
    requested_reason: str
    counts: Counts
    progress: str
    targets: tuple[Target, ...]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.phase in ENDED_PHASES


def read_request(fields: Fields) -> Request:
    """Read one resource of /diagnostics/requests."""
    return Request(
        id=fields.text("id"),
        revision=fields.integer("revision"),
        phase=fields.text("phase"),
        reason=fields.text_or("reason"),
        message=fields.text_or("message"),
        created_at=fields.time("created_at"),
        started_at=fields.time("started_at"),
        finished_at=fields.time("finished_at"),
        profiles=fields.items("captures", lambda capture: capture.text("profile")),
        requested_reason=fields.text_or("requested_reason"),
        counts=_read_counts(fields.child("counts")),
        progress=fields.text_or("progress"),
        targets=fields.items("targets", _read_target),
    )


def read_requests(fields: Fields) -> tuple[Request, ...]:
    """Read the answer of GET /diagnostics/requests."""
    return fields.items("requests", read_request)


def _read_counts(fields: Fields) -> Counts:
    return Counts(
        targets=fields.integer("targets"),
        pending=fields.integer("pending"),
        running=fields.integer("running"),
        succeeded=fields.integer("succeeded"),
        failed=fields.integer("failed"),
        skipped=fields.integer("skipped"),
        cancelled=fields.integer("cancelled"),
    )


def _read_target(fields: Fields) -> Target:
    return Target(
        node_id=fields.text("node_id"),
        agent_id=fields.text_or("agent_id"),
        role=fields.text_or("role"),
        phase=fields.text("phase"),
        reason=fields.text_or("reason"),
        message=fields.text_or("message"),
        attempts=fields.integer("attempts"),
        started_at=fields.time("started_at"),
        finished_at=fields.time("finished_at"),
        results=fields.items("results", _read_result),
    )


def _read_result(fields: Fields) -> Result:
    profile = fields.text("profile")
    return Result(
        capture=fields.text_or("capture", profile),
        profile=profile,
        phase=fields.text("phase"),
        reason=fields.text_or("reason"),
        message=fields.text_or("message"),
        duration_s=fields.number("duration_seconds"),
        elapsed_s=fields.number("elapsed_seconds"),
        received_bytes=fields.integer("received_bytes"),
        size_bytes=_integer_or_none(fields, "size_bytes"),
        sha256=fields.text_or("sha256"),
        samples=_integer_or_none(fields, "samples"),
        format=fields.text_or("format"),
        artifact_id=fields.text_or("artifact_id"),
        empty=fields.flag("empty"),
        truncated=fields.flag("truncated"),
        warnings=fields.texts("warnings"),
    )


def _integer_or_none(fields: Fields, name: str) -> int | None:
    return None if fields.number_or_none(name) is None else fields.integer(name)

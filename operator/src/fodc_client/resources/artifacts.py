# SPDX-License-Identifier: Apache-2.0
"""Manifests of stored artifacts: GET /artifacts."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fodc_client.reading import Fields


@dataclass(frozen=True, slots=True)
class Artifact:
    """The manifest of a stored artifact."""

    artifact_id: str
    request_id: str
    node_id: str
    profile: str
    format: str
    size_bytes: int
    sha256: str
    created_at: datetime | None


def read_artifact(fields: Fields) -> Artifact:
    """Read one manifest."""
    return Artifact(
        artifact_id=fields.text("artifact_id"),
        request_id=fields.text_or("request_id"),
        node_id=fields.text_or("node_id") or fields.text_or("node"),
        profile=fields.text_or("profile"),
        format=fields.text_or("format"),
        size_bytes=fields.integer("size_bytes"),
        sha256=fields.text_or("sha256"),
        created_at=_artifact_time(fields),
    )


def _artifact_time(fields: Fields) -> datetime | None:
    """Return when it was captured; a manifest has milliseconds, a resource RFC 3339."""
    moment = fields.time("created_at") or fields.time("started_at")
    started_ms = fields.number_or_none("started_at_ms")
    if moment is None and started_ms is not None:
        return datetime.fromtimestamp(started_ms / 1000, UTC)
    return moment


def read_artifacts(fields: Fields) -> tuple[Artifact, ...]:
    """Read the answer of GET /artifacts."""
    return fields.items("artifacts", read_artifact)

# SPDX-License-Identifier: Apache-2.0
"""Stored results: GET /artifacts, /artifacts/{id}/manifest."""

from typing import Annotated

from msgspec import Meta

from fodc_api.cluster import NodeFilter
from fodc_api.problems import Unreadable
from fodc_api.values import Answer, Count, Query, Seconds, Sha256, Time
from fodc_api.words import ArtifactState


class ArtifactsQuery(Query, frozen=True):
    """Which artifacts are listed; all that is given must fit."""

    node_id: NodeFilter = ""
    request_id: Annotated[str, Meta(max_length=253)] = ""
    profile: Annotated[str, Meta(max_length=63, description="Kind of profile.")] = ""


class Artifact(Answer, frozen=True):
    """The manifest of a stored artifact."""

    artifact_id: str
    request_id: str
    command_id: str
    node_id: str
    pod_name: str
    namespace: str | None
    role: str
    profile: str
    format: Annotated[str, Meta(description="How the bytes are to be read, such as pprof.")]
    size_bytes: Count
    sha256: Sha256
    samples: Count | None
    started_at: Time
    finished_at: Time
    created_at: Annotated[Time, Meta(description="When the proxy stored it.")]
    duration_seconds: Seconds
    empty: Annotated[bool, Meta(description="Whether nothing was sampled.")]
    truncated: Annotated[bool, Meta(description="Whether only a part arrived.")]
    warnings: tuple[str, ...]
    agent_version: str
    file_name: str
    download_path: str
    state: ArtifactState
    message: Annotated[str, Meta(description="What is damaged.")]


class Artifacts(Answer, frozen=True):
    """GET /artifacts, the newest first."""

    artifacts: tuple[Artifact, ...]
    unreadable: Annotated[
        tuple[Unreadable, ...], Meta(description="Manifests that cannot be read.")
    ] = ()

# SPDX-License-Identifier: Apache-2.0
"""What nodes left behind: crashes and profiles taken under memory pressure.

GET /diagnostics and /pressure-profiles of the existing contract, in its shapes.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, field

from fodc_api.values import Answer, Count, Query

Moment: TypeAlias = Annotated[str, Meta(description="RFC 3339 in UTC, to the nanosecond.")]
NO_TIME = "0001-01-01T00:00:00Z"


class FindingsQuery(Query, frozen=True, forbid_unknown_fields=False):
    """Whose findings are shown; other parameters are passed over."""

    role: Annotated[str, Meta(max_length=253, description="Role, tier or both, in any case.")] = ""
    pod_name: Annotated[
        str, Meta(max_length=317, description="Pod name, in any case, or namespace/pod.")
    ] = ""


class Breadcrumb(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """What the process was about to do, the latest last."""

    occurred_at: Moment
    fields: dict[str, str] = field(default_factory=dict)
    stage: str
    component: str = ""


class PanicRecord(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """One panic of a node as it wrote it down itself."""

    component: str
    goroutine_stack: str = ""
    panic_value: str
    occurred_at: Moment
    process_metadata: dict[str, str] = field(default_factory=dict)
    breadcrumbs: tuple[Breadcrumb, ...] = ()
    recovered: bool


class Crash(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """One crash: GET /diagnostics."""

    fetched_at: Moment
    panic_record: PanicRecord | None = None
    agent_id: str
    pod_name: str
    role: str
    source_endpoint: str
    artifact_dir: str
    files: tuple[str, ...] = ()


class PressureProfile(Answer, frozen=True):
    """One profile of an event; `filepath` is where its agent has it."""

    type: str
    filename: str
    filepath: str
    format: str
    size_bytes: Count


class PressureEvent(Answer, frozen=True):
    """One time at which a node came near its memory limit: GET /pressure-profiles."""

    captured_at: Moment
    agent_id: str
    pod_name: str
    role: str
    profile_id: str
    source_endpoint: str
    profiles: tuple[PressureProfile, ...]
    rss_bytes: Count
    cgroup_limit_bytes: Count
    threshold_bytes: Count
    trigger_percent: Count

# SPDX-License-Identifier: Apache-2.0
"""A crash and a pressure event as they are kept, and as artifacts, pure.

The one idea: what a node left behind is an artifact like any other: named by the node and by what
the node calls it, so that telling it twice keeps it once.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from fodc_api.findings import Crash, PressureEvent
from fodc_protocol.artifacts import Manifest
from fodc_protocol.times import TimeError, parse_rfc3339_ms

CRASH: Final = "crash"
PRESSURE: Final = "pressure"
RECORDS: Final = frozenset({CRASH, PRESSURE})
TYPES: Final = ("heap", "goroutine")
"""Kinds of profiles that are taken under pressure."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose finding it is."""

    namespace: str
    pod_name: str
    role: str
    agent_id: str
    agent_version: str = ""

    @property
    def address(self) -> str:
        """Where the node is, or was."""
        return f"{self.namespace}/{self.pod_name}" if self.namespace else self.pod_name


@dataclass(frozen=True, slots=True)
class KeptCrash:
    """A crash and whose it is."""

    origin: Origin
    crash: Crash

    @property
    def address(self) -> str:
        """Where the node is, or was."""
        return self.origin.address

    @property
    def name(self) -> str:
        """What the node calls it."""
        return self.crash.artifact_dir

    @property
    def content(self) -> tuple[object, ...]:
        """What stays the same however often and by whom it is told."""
        one = self.crash
        return one.panic_record, one.source_endpoint, one.artifact_dir, one.files


@dataclass(frozen=True, slots=True)
class KeptPressure:
    """A pressure event, and whether its agent has its profiles now."""

    origin: Origin
    event: PressureEvent
    is_live: bool = True

    @property
    def address(self) -> str:
        """Where the node is, or was."""
        return self.origin.address

    @property
    def name(self) -> str:
        """What the node calls it."""
        return self.event.profile_id


Kept: TypeAlias = KeptCrash | KeptPressure


def artifact_id(profile: str, address: str, name: str) -> str:
    """Return the id of what a node calls by this name; `profile` is the kind of the bytes."""
    told = f"{address}\0{name}".encode("utf-8", "replace")
    return f"{profile}-{hashlib.sha256(told).hexdigest()[:24]}"


def record_id(kept: Kept) -> str:
    """Return the id of the artifact that holds the record."""
    return artifact_id(_kind(kept), kept.address, kept.name)


def profile_artifact_id(kept: KeptPressure, type_: str) -> str:
    """Return the id of the artifact that holds a profile of an event."""
    return artifact_id(f"{PRESSURE}-{type_}", kept.address, kept.name)


def record_manifest(kept: Kept, content: bytes) -> Manifest:
    """Return the manifest of a record whose JSON this is."""
    sha256 = hashlib.sha256(content).hexdigest()
    kind = _kind(kept)
    return _manifest(kept, record_id(kept), (kind, "json"), len(content), sha256)


def profile_manifest(kept: KeptPressure, type_: str, size_bytes: int, sha256: str) -> Manifest:
    """Return the manifest of a profile that was taken under pressure."""
    id_ = profile_artifact_id(kept, type_)
    made = _manifest(kept, id_, (type_, "pprof"), size_bytes, sha256)
    return replace(made, empty=size_bytes == 0)


def _manifest(
    kept: Kept, id_: str, kind: tuple[str, str], size_bytes: int, sha256: str
) -> Manifest:
    origin, at_ms = kept.origin, occurred_ms(kept)
    return Manifest(
        artifact_id=id_,
        request_id=_kind(kept),
        command_id=id_,
        node=origin.address,
        pod=origin.pod_name,
        role=origin.role,
        profile=kind[0],
        format=kind[1],
        size_bytes=size_bytes,
        sha256=sha256,
        samples=None,
        started_at_ms=at_ms,
        finished_at_ms=at_ms,
        duration_ms=0,
        agent_version=origin.agent_version,
        namespace=origin.namespace,
    )


def _kind(kept: Kept) -> str:
    return CRASH if isinstance(kept, KeptCrash) else PRESSURE


def occurred_ms(kept: Kept) -> int:
    """Return when it happened as the node tells it, 0 when it does not."""
    match kept:
        case KeptCrash(crash=Crash(panic_record=None, fetched_at=told)):
            return _ms(told)
        case KeptCrash(crash=crash) if crash.panic_record is not None:
            return _ms(crash.panic_record.occurred_at)
        case KeptPressure(event=event):
            return _ms(event.captured_at)
    return 0


def _ms(told: str) -> int:
    try:
        return max(0, parse_rfc3339_ms(told))
    except TimeError:
        return 0


@dataclass(slots=True)
class ListRound:
    """One question for the pressure events of some agents, done when all have told the end."""

    waiting: set[str]
    told: dict[str, list[PressureEvent]] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether nobody is waited for."""
        return not self.waiting

    def acknowledge(self, agent_id: str) -> bool:
        """Wait for this agent no more; whether it was waited for."""
        if agent_id not in self.waiting:
            return False
        self.waiting.discard(agent_id)
        return True

# SPDX-License-Identifier: Apache-2.0
"""What the agent keeps of occurrences over its own end, as text. Pure.

The one idea: it is little and changes seldom, so it is one document that is replaced as a whole;
either the old one or the new one is there. One that cannot be read is an error for the caller, who
begins anew: a history that was guessed at would be worse than none.
"""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Final

from fodc_agent.occurrences.rules import Life, Remembered
from fodc_protocol.lean import dataclass
from fodc_protocol.link.event_queue import KeptEvents
from fodc_protocol.link.frames import Event

MOST_BYTES: Final = 1024 * 1024
_VERSION: Final = 1


class BrokenNotesError(ValueError):
    """The text is not what an agent has written; the message says where."""


@dataclass(frozen=True, slots=True)
class PressureRecord:
    """One time at which memory was short; `captures` are command ids by kind of profile."""

    profile_id: str
    captured_at_ms: int
    rss_bytes: int
    limit_bytes: int
    threshold_percent: int
    captures: Mapping[str, str]

    @property
    def threshold_bytes(self) -> int:
        """What the limit and the percentage come to."""
        return self.limit_bytes * self.threshold_percent // 100


@dataclass(frozen=True, slots=True)
class Notes:
    """Everything that is kept."""

    events: KeptEvents = field(default_factory=KeptEvents)
    remembered: Remembered = field(default_factory=Remembered)
    pressures: tuple[PressureRecord, ...] = ()
    windows: Mapping[str, int] = field(default_factory=dict)
    """Command ids of windows that are taken, and when what they are of happened (Unix ms)."""


def written(notes: Notes) -> bytes:
    """Return the document."""
    events, remembered = notes.events, notes.remembered
    life = remembered.life
    document = {
        "version": _VERSION,
        "produced": events.produced,
        "delivered": events.delivered,
        "gapped": events.gapped,
        "gap": events.gap,
        "waiting": [_event_row(one) for one in events.waiting],
        "life": None if life is None else [life.pid, life.start_ticks, life.started_at_ms],
        "last_crash": remembered.last_crash,
        "gone": remembered.is_gone,
        "away": remembered.is_away,
        "pressures": [_pressure_row(one) for one in notes.pressures],
        "windows": dict(notes.windows),
    }
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def _event_row(event: Event) -> list[object]:
    return [
        event.sequence,
        event.occurred_at_ms,
        event.kind,
        event.message,
        dict(event.fields),
        event.incarnation,
        event.gap,
    ]


def _pressure_row(one: PressureRecord) -> list[object]:
    return [
        one.profile_id,
        one.captured_at_ms,
        one.rss_bytes,
        one.limit_bytes,
        one.threshold_percent,
        dict(one.captures),
    ]


def read(text: bytes) -> Notes:
    """Return what a document says; raises BrokenNotesError."""
    try:
        told = json.loads(text)
        if told["version"] != _VERSION:
            raise BrokenNotesError(f"version {told['version']!r} is not known")
        events = KeptEvents(
            int(told["produced"]),
            int(told["delivered"]),
            int(told["gapped"]),
            int(told["gap"]),
            tuple(_event(row) for row in told["waiting"]),
        )
        life = None if told["life"] is None else Life(*map(int, told["life"]))
        crash = None if told["last_crash"] is None else str(told["last_crash"])
        remembered = Remembered(
            life, crash, bool(told.get("gone", False)), bool(told.get("away", False))
        )
        pressures = tuple(_pressure(row) for row in told["pressures"])
        windows = {str(name): _int(at_ms) for name, at_ms in told.get("windows", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenNotesError(f"{type(error).__name__}: {error}") from error
    return Notes(events, remembered, pressures, windows)


def _event(row: list[object]) -> Event:
    sequence, at_ms, kind, message, fields, incarnation, gap = row
    return Event(
        _int(sequence), _int(at_ms), str(kind), str(message), _texts(fields), str(incarnation),
        _int(gap),
    )  # fmt: skip


def _pressure(row: list[object]) -> PressureRecord:
    profile_id, at_ms, rss, limit, percent, captures = row
    return PressureRecord(
        str(profile_id), _int(at_ms), _int(rss), _int(limit), _int(percent), _texts(captures)
    )


def _int(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} is no count")
    return value


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return {str(name): str(one) for name, one in value.items()}

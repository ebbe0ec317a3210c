# SPDX-License-Identifier: Apache-2.0
"""Faults on request: what replaces the answers of one place, metrics or pprof, for a while."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

MALFORMED_PATH = Path(__file__).resolve().parents[1] / "malformed.lines"
HUGE_BYTES = 200 * 1024 * 1024
SLOW_PIECE_BYTES = 1024
SLOW_PAUSE_S = 0.1
LOOK_AGAIN_S = 0.1
PLACES = ("metrics", "pprof")
GARBAGE_PROFILE = b"\x1f\x8b\x08\x00not a profile"
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Kind(StrEnum):
    """The ways to misbehave; none is to behave."""

    HANG = "hang"
    ERROR500 = "error500"
    MALFORMED = "malformed"
    HUGE = "huge"
    SLOW = "slow"
    TRUNCATE = "truncate"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, when it ends by itself (monotonic seconds) and whether it was ended before."""

    kind: Kind
    until: float = 0.0
    cleared: threading.Event = field(default_factory=threading.Event)

    def wait(self, until: float, client_left: Callable[[], bool]) -> bool:
        """Return True at a moment or when the fault is cleared, False when the client left."""
        while (left := until - time.monotonic()) > 0:
            if self.cleared.wait(min(left, LOOK_AGAIN_S)):
                return True
            if client_left():
                return False
        return True


class FaultBoard:
    """The present fault of each place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_place: dict[str, Fault] = {}

    def set(self, place: str, kind: Kind, seconds: float) -> None:
        """Replace the fault of a place; what waits because of the old one goes on."""
        with self._lock:
            old = self._by_place.pop(place, None)
            if old is not None:
                old.cleared.set()
            if kind is not Kind.NONE:
                self._by_place[place] = Fault(kind, time.monotonic() + seconds)

    def current(self, place: str) -> Fault:
        """Return the fault of a place, of kind none when there is no other."""
        with self._lock:
            fault = self._by_place.get(place)
        live = fault is not None and time.monotonic() < fault.until
        return fault if live and fault is not None else Fault(Kind.NONE)


@dataclass(frozen=True, slots=True)
class Order:
    """A request of /sample/fault that was understood."""

    place: str
    kind: Kind
    seconds: float


def read_order(query: dict[str, str]) -> Order:
    """Return the order in a query; ValueError names the parameter that is wrong."""
    kind, place = query.get("kind", ""), query.get("where", "metrics")
    if kind not in set(Kind):
        raise ValueError(f"kind: want one of {' '.join(Kind)}")
    if place not in PLACES:
        raise ValueError("where: want metrics or pprof")
    return Order(place, Kind(kind), read_duration(query.get("for", "10s")))


def read_duration(text: str) -> float:
    """Return the seconds of a duration such as 10s, 500ms or 1m30s."""
    parts = re.findall(r"(\d+(?:\.\d*)?)(ms|s|m|h)", text)
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        raise ValueError("for: want a duration such as 10s")
    return seconds


def malformed_lines() -> list[str]:
    lines = MALFORMED_PATH.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [line for line in lines if not line.startswith(";")]


def malformed_page(families: Iterator[str]) -> bytes:
    """Return a page with one difficult or wrong line after each of its first families."""
    texts = list(families)
    for position, line in enumerate(malformed_lines()):
        texts[position] += f"{line}\n"
    return "".join(texts).encode()


def huge_blocks(place: str) -> Iterator[bytes]:
    """Yield 200 MiB in pieces, a page without end or a profile of zeros."""
    template = huge_template() if place == "metrics" else bytes(1 << 16)
    sent = number = 0
    while sent < HUGE_BYTES:
        block = template.replace(b"@", b"%d" % number)
        yield block
        sent, number = sent + len(block), number + 1


def huge_template() -> bytes:
    """Return lines with an @ where the number of the block belongs."""
    return "".join(
        f'banyandb_sample_huge{{block="@",line="{line}"}} {line}\n' for line in range(1000)
    ).encode()

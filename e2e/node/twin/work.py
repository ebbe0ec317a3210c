# SPDX-License-Identifier: Apache-2.0
"""The load of the Python node: threads that do what parts of a database do.

The one idea: one unit costs about five percent of a core and holds about a megabyte; the names
are those of a database's parts so that a reader of a profile recognizes them. Slices are longer
and rarer than in the Go program because the interpreter lets a sampler look every few milliseconds.
"""

from __future__ import annotations

import functools
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_LOAD = 64
PERIOD_S = 1.0
SLICE_S = 0.02
LOCK_PERIOD_S = 0.2
LOCK_HOLD_S = 0.01
BLOCK_BYTES = 64 * 1024
KEPT_BLOCKS = 16
INDEX_TERMS = 500
TRACED_CALLS = 8


@dataclass(slots=True)
class Measure:
    """Hashes blocks."""

    block: bytearray = field(default_factory=lambda: bytearray(512))
    digest: int = 0

    def flush(self) -> None:
        """Hash blocks for one slice of time."""
        end = time.monotonic() + SLICE_S
        while time.monotonic() < end:
            self.hash_block()

    def hash_block(self) -> None:
        """Hash the block and fill it anew."""
        digest = 2166136261
        for position, byte in enumerate(self.block):
            digest = ((digest ^ byte) * 16777619) & 0xFFFFFFFF
            self.block[position] = digest & 0xFF
        self.digest ^= digest


@dataclass(slots=True)
class Index:
    """Looks terms up in a map and replaces those that it does not find."""

    terms: dict[int, list[int]] = field(default_factory=dict)
    hits: int = 0
    seed: int = 0

    def search(self) -> None:
        """Look terms up for one slice of time."""
        end = time.monotonic() + SLICE_S
        while time.monotonic() < end:
            for _ in range(50):
                self.look_up()

    def look_up(self) -> None:
        """Look the next term up, adding it when it is not there."""
        self.seed = (self.seed * 1103515245 + 12345) & 0x7FFFFFFF
        term = self.seed >> 8
        if term in self.terms:
            self.hits += 1
            return
        if len(self.terms) >= INDEX_TERMS:
            self.terms.clear()
        self.terms[term] = [term, self.hits]


@dataclass(slots=True)
class Stream:
    """Makes new blocks and keeps the last few, so that the heap profile has something to show."""

    blocks: list[bytearray] = field(default_factory=list)

    def encode(self) -> None:
        """Make four blocks and forget the oldest."""
        self.blocks = [*self.blocks, *(self.encode_elements() for _ in range(4))][-KEPT_BLOCKS:]

    def encode_elements(self) -> bytearray:
        """Return a new block."""
        block = bytearray(BLOCK_BYTES)
        for position in range(0, BLOCK_BYTES, 64):
            block[position] = position & 0xFF
        return block


class Shard:
    """Is written by several threads that wait for its lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def write(self) -> None:
        """Hold the lock for a while without using the processor."""
        with self._lock:
            time.sleep(LOCK_HOLD_S)


class Unit:
    """One unit of load: its threads and the event that ends them."""

    def __init__(self) -> None:
        self._end = threading.Event()
        shard = Shard()
        for task in (Measure().flush, Index().search, Stream().encode):
            self._start(functools.partial(self._every, PERIOD_S, task))
        for _ in range(2):
            self._start(functools.partial(self._every, LOCK_PERIOD_S, shard.write))
            self._start(self._await_message)

    def _start(self, target: Callable[[], None]) -> None:
        threading.Thread(target=target, daemon=True).start()

    def _every(self, period_s: float, task: Callable[[], None]) -> None:
        task()
        while not self._end.wait(period_s):
            task()

    def _await_message(self) -> None:
        self._end.wait()

    def end(self) -> None:
        """Let the threads end after what they are doing."""
        self._end.set()


class Workload:
    """Holds as many units as wanted; memory is traced while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._units: list[Unit] = []

    def set_load(self, units: int) -> None:
        """Start or end units until there are that many."""
        with self._lock:
            if units and not tracemalloc.is_tracing():
                tracemalloc.start(TRACED_CALLS)
            while len(self._units) > units:
                self._units.pop().end()
            while len(self._units) < units:
                self._units.append(Unit())
            if not units and tracemalloc.is_tracing():
                tracemalloc.stop()

# SPDX-License-Identifier: Apache-2.0
"""Stacks as the programs keep them, and a profile of them as pprof reads it. Pure.

The one idea: a stack has two halves, that of the kernel and that of the program; in a profile they
are one, from the innermost function outwards, and whatever no name is known of keeps its address if
it is the program's, and says no more than "kernel" if it is the kernel's.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.protobuf import message, messages, number, texts, varint

FRAMES: Final = 48
VALUE: Final = struct.Struct(f"=QQqQII264x{2 * FRAMES}Q")
_SCHEDULER: Final = ("__schedule", "schedule", "io_schedule", "preempt_schedule")
UNKNOWN_OF_KERNEL: Final = "[kernel]"


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack with its weight; frames from the innermost, times in nanoseconds.

    `waiting` threads are away with this stack still; they left at `left_at_ns` in sum.
    """

    kernel: tuple[int, ...]
    program: tuple[int, ...]
    count: int
    sum_ns: int
    waiting: int = 0
    left_at_ns: int = 0

    def ended(self, now_ns: int) -> "Stack":
        """Return it with the time of those that are away until `now_ns`."""
        if self.waiting <= 0:
            return self
        waited_ns = max(self.waiting * now_ns - self.left_at_ns, 0)
        return Stack(self.kernel, self.program, self.count + self.waiting, self.sum_ns + waited_ns)


def parse_stack(value: bytes) -> Stack:
    """Return a value of the map `stacks`; raises struct.error for another size."""
    count, sum_ns, waiting, left_at_ns, of_kernel, of_program, *frames = VALUE.unpack(value)
    kernel = tuple(frames[: min(of_kernel, FRAMES)])
    program = tuple(frames[FRAMES : FRAMES + min(of_program, FRAMES)])
    return Stack(kernel, program, count, sum_ns, waiting, left_at_ns)


@dataclass(frozen=True, slots=True)
class Measure:
    """What the two values of a sample are: name and unit of each."""

    count: str
    time: str


RUNNING: Final = Measure("samples", "cpu")
WAITING: Final = Measure("contentions", "delay")


@dataclass(frozen=True, slots=True)
class Names:
    """Functions by address; an address that is not there has no name."""

    kernel: Mapping[int, str]
    program: Mapping[int, str]


def profile_of(
    stacks: Iterable[Stack], names: Names, measure: Measure, began_ns: int, duration_ns: int
) -> bytes:
    """Return profile.proto, not compressed."""
    writer = _Writer(is_waiting=measure is WAITING)
    samples = [
        message(1, _packed(writer.locations(stack, names)))
        + message(2, _packed((stack.count, stack.sum_ns)))
        for stack in stacks
    ]
    counted = number(1, writer.text(measure.count)) + number(2, writer.text("count"))
    timed = number(1, writer.text(measure.time)) + number(2, writer.text("nanoseconds"))
    return b"".join(
        (
            messages(1, (counted, timed)),
            messages(2, samples),
            messages(4, writer.known_locations),
            messages(5, writer.known_functions),
            texts(6, writer.known_texts),
            number(9, began_ns),
            number(10, duration_ns),
        )
    )


def _packed(values: Sequence[int]) -> bytes:
    return b"".join(map(varint, values))


class _Writer:
    """Numbers of texts, functions and locations, each written once."""

    def __init__(self, *, is_waiting: bool) -> None:
        self._is_waiting = is_waiting
        self._texts = {"": 0}
        self._functions: dict[str, int] = {}
        self._locations: dict[tuple[int, str], int] = {}
        self.known_functions: list[bytes] = []
        self.known_locations: list[bytes] = []

    @property
    def known_texts(self) -> Iterable[str]:
        return self._texts

    def text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def locations(self, stack: Stack, names: Names) -> list[int]:
        frames = frames_of(stack, names, is_waiting=self._is_waiting)
        return [self._location(*frame) for frame in frames]

    def _location(self, address: int, name: str) -> int:
        known = self._locations.get((address, name))
        if known is not None:
            return known
        place = self._locations[address, name] = len(self._locations) + 1
        line = message(4, number(1, self._function(name))) if name else b""
        self.known_locations.append(number(1, place) + number(3, address) + line)
        return place

    def _function(self, name: str) -> int:
        if name not in self._functions:
            place = self._functions[name] = len(self._functions) + 1
            told = self.text(name)
            self.known_functions.append(number(1, place) + number(2, told) + number(3, told))
        return self._functions[name]


def frames_of(stack: Stack, names: Names, *, is_waiting: bool) -> Iterator[tuple[int, str]]:
    """Yield address and name of each frame, the innermost first.

    How the scheduler is entered is left out of what waits: every wait ends there, with the program
    that sees it. Addresses of the kernel are left out always: they would tell where it lies.
    """
    kernel = [names.kernel.get(address, UNKNOWN_OF_KERNEL) for address in stack.kernel]
    entered = 0
    for place, name in enumerate(kernel if is_waiting else (), 1):
        if name.startswith(_SCHEDULER):
            entered = place
    for name in kernel[entered:]:
        yield 0, name
    for address in stack.program:
        yield address, names.program.get(address, "")

# SPDX-License-Identifier: Apache-2.0
"""Inputs that nobody has thought of: seeds that are cut, spliced, repeated and bent.

The one idea: a run is as long as FODC_FUZZ_S says, or a fixed number of inputs without it; the
number by which an input is made again stands in the failure.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

FUZZ_S: Final = float(os.environ.get("FODC_FUZZ_S", "0"))
"""Seconds for each kind of input; 0 takes `INPUTS` of each."""
FIRST: Final = int(os.environ.get("FODC_FUZZ_FROM") or (int(time.time()) << 20 if FUZZ_S else 0))
"""Number of the first input: of the clock, so that each long run tries others. A gate has to say
the same of the same tree twice and begins at 0."""
INPUTS: Final = 250
LONGEST: Final = 256 * 1024
_NASTY: Final = (
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80" * 11,
    b"\x7f\xff\xff\xff",
    b"\x00" * 9,
    b"NaN",
    b"1e309",
    b"\\",
    b'"',
    b"{",
    b"}",
    b"[[[[",
    b"\r\n",
    b"\xc3\x28",
    b"\xed\xa0\x80",
)


def inputs(seeds: Sequence[bytes], start: int) -> Iterator[tuple[int, bytes]]:
    """Yield numbers and the inputs that they stand for."""
    ends_s = time.monotonic() + FUZZ_S
    number = start
    while time.monotonic() < ends_s if FUZZ_S else number < start + INPUTS:
        yield number, made(seeds, number)
        number += 1


def made(seeds: Sequence[bytes], number: int) -> bytes:
    """Return the input of a number."""
    chance = random.Random(number)
    data = chance.choice(seeds)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        data = chance.choice(_STEPS)(data, chance, seeds)[:LONGEST]
    return data


def _flipped(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    found = bytearray(data)
    for _one in range(chance.choice((1, 1, 4, 16))):
        found[chance.randrange(len(found))] = chance.randrange(256)
    return bytes(found)


def _cut(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    begin = chance.randrange(len(data) + 1)
    return data[:begin] if chance.random() < 0.5 else data[begin:]


def _without(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    begin, end = sorted(chance.randrange(len(data) + 1) for _one in range(2))
    return data[:begin] + data[end:]


def _spliced(data: bytes, chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    other = chance.choice(seeds)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _repeated(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    begin = chance.randrange(len(data) + 1)
    piece = data[begin : begin + chance.randrange(1, 64)]
    return data[:begin] + piece * chance.choice((2, 30, 1_000)) + data[begin:]


def _put_in(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    begin = chance.randrange(len(data) + 1)
    piece = chance.choice((*_NASTY, chance.randbytes(chance.randrange(1, 20))))
    return data[:begin] + piece * chance.choice((1, 1, 1, 200)) + data[begin:]


_STEPS: Final[Sequence[Callable[[bytes, random.Random, Sequence[bytes]], bytes]]] = (
    _flipped,
    _cut,
    _without,
    _spliced,
    _repeated,
    _put_in,
)


def seconds_of(feed: Callable[[bytes], object], data: bytes) -> float:
    """Return the processor time of one input, the least of two: others use the machine too."""
    took_s = []
    for _ in range(2):
        began_s = time.process_time()
        feed(data)
        took_s.append(time.process_time() - began_s)
    return min(took_s)

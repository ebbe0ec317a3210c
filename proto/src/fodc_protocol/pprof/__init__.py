# SPDX-License-Identifier: Apache-2.0
"""Reads what a Go process answers on its pprof port: profile.proto, gzipped or plain, and traces.

The one idea: a profile is looked at before it is called a success. `inspect` walks it piece by
piece with little memory; `hottest` and `folded` answer "what is hot" without any Go tool.
"""

import re
from typing import Final

from fodc_protocol.errors import CorruptProfileError
from fodc_protocol.lean import dataclass
from fodc_protocol.pprof.contents import MAX_FIELDS, MAX_PLAIN_BYTES, Contents, ValueType
from fodc_protocol.pprof.reading import Budget, start_of
from fodc_protocol.pprof.stacks import HotFunction, folded, hottest

__all__ = [
    "MAX_FIELDS",
    "MAX_PLAIN_BYTES",
    "HotFunction",
    "ProfileSummary",
    "TraceSummary",
    "ValueType",
    "folded",
    "hottest",
    "inspect",
    "inspect_trace",
]

_TRACE_HEADER: Final = re.compile(rb"go (1\.\d{1,3}) trace\0{2,4}")


@dataclass(frozen=True, slots=True)
class ProfileSummary:
    """What a profile holds; times in Unix nanoseconds, `period` in the unit of the sampling."""

    samples: int
    nonzero_samples: int
    value_types: tuple[ValueType, ...]
    duration_ns: int
    period: int
    time_ns: int

    @property
    def empty(self) -> bool:
        """Whether nothing was sampled at all."""
        return self.nonzero_samples == 0


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """What is known of an execution trace without replaying it."""

    go_version: str
    payload_bytes: int

    @property
    def empty(self) -> bool:
        """Whether there is nothing behind the header."""
        return self.payload_bytes == 0


def inspect(
    data: bytes, *, max_bytes: int = MAX_PLAIN_BYTES, max_fields: int = MAX_FIELDS
) -> ProfileSummary:
    """Count the samples of a profile (gzip or plain profile.proto).

    What `go tool pprof` cannot open raises CorruptProfileError: no bytes, other content, a
    damaged gzip, malformed protobuf, samples that do not fit their types. What is beyond
    `max_bytes` unpacked or `max_fields` fields raises ProfileTooLargeError: it may be good. Up
    to two seconds of computing; call it outside of an event loop.
    """
    found = Contents(keep_stacks=False, budget=Budget(max_fields))
    found.read(data, max_bytes)
    return ProfileSummary(
        samples=found.samples,
        nonzero_samples=found.nonzero_samples,
        value_types=found.value_types(),
        duration_ns=found.numbers.get(10, 0),
        period=found.numbers.get(12, 0),
        time_ns=found.numbers.get(9, 0),
    )


def inspect_trace(data: bytes) -> TraceSummary:
    """Check the header of a Go execution trace; raises CorruptProfileError."""
    header = _TRACE_HEADER.match(data)
    if header is None or len(data) < 16:
        raise CorruptProfileError(f"no Go execution trace: {start_of(data)}")
    return TraceSummary(f"go{header[1].decode()}", len(data) - 16)

# SPDX-License-Identifier: Apache-2.0
"""What a source gives: samples, and a named gap for each part that it could not see.

The one idea: a missing permission or file is a value beside the samples, and a series of its own
(`fodc_agent_source_gap`), so that an empty graph always has a reason next to it.
"""

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import MetricType, Sample, Series

_READ_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 14
_T = TypeVar("_T")


class GapReason(StrEnum):
    """Why a part of a reading is missing."""

    NO_PROCESS = "NoProcess"
    AMBIGUOUS = "AmbiguousProcess"
    PERMISSION_DENIED = "PermissionDenied"
    NOT_FOUND = "NotFound"
    UNSUPPORTED = "Unsupported"
    UNREADABLE = "Unreadable"
    HUNG = "Hung"
    OUTSIDE_NAMESPACE = "OutsideNamespace"
    NOT_SHARED = "NotShared"
    FLAVOR_BASIC = "FlavorBasic"
    RESTARTED = "Restarted"
    REMOTE = "Remote"
    NO_CAPABILITY = "NoCapability"
    NO_BTF = "NoBTF"
    NO_TRACEFS = "NoTracefs"
    NO_TRACEPOINT = "NoTracepoint"
    KERNEL_TOO_OLD = "KernelTooOld"
    LOCKDOWN = "Lockdown"
    NO_HEADERS = "NoHeaders"
    REFUSED = "Refused"


@dataclass(frozen=True, slots=True)
class Gap:
    """A part that could not be seen, why, and what a person can do about it."""

    part: str
    reason: GapReason
    message: str


@dataclass(frozen=True, slots=True)
class Family:
    """Name, type and help of one metric."""

    name: str
    type: MetricType
    help: str

    def sample(self, value: float, *labels: tuple[str, str]) -> Sample:
        """Return one sample with these labels."""
        return Sample(Series(self.name, labels, self.type, self.help), float(value))


def counter(name: str, text: str) -> Family:
    """Return a metric that only grows."""
    return Family(name, MetricType.COUNTER, text)


def gauge(name: str, text: str) -> Family:
    """Return a metric that goes up and down."""
    return Family(name, MetricType.GAUGE, text)


_GAP: Final = gauge(
    "fodc_agent_source_gap", "1 for each part that a source of the agent could not see, with why."
)


@dataclass(frozen=True, slots=True)
class SourceReading:
    """One reading of one source; `gaps` is empty when everything was seen."""

    samples: tuple[Sample, ...]
    gaps: tuple[Gap, ...] = ()


def value_in(payload: object, name: str, *labels: tuple[str, str]) -> float | None:
    """Return the value of one series of what a source brought, None where it has none."""
    samples = payload.samples if isinstance(payload, SourceReading) else ()
    found = (one for one in samples if (one.series.name, one.series.labels) == (name, labels))
    return next((one.value for one in found), None)


@dataclass(slots=True)
class Sheet:
    """Collects the samples and gaps of one reading."""

    source: str
    samples: list[Sample] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def add(self, family: Family, value: float | None, *labels: tuple[str, str]) -> None:
        """Add a sample; None is left out, because the kernel did not say."""
        if value is not None:
            self.samples.append(family.sample(value, *labels))

    def read(self, part: str, path: Path, parse: Callable[[str], _T]) -> _T | None:
        """Read and parse a small kernel file; a failure becomes a gap and None."""
        try:
            return parse(read_small(path))
        except OSError as error:
            self.gaps.append(gap_of(part, path, error))
        except (ValueError, LookupError, ArithmeticError) as error:
            self.gaps.append(Gap(part, GapReason.UNREADABLE, f"{path}: unknown form: {error!r}"))
        return None

    def count_entries(self, family: Family, part: str, directory: Path) -> None:
        """Add the number of entries of a directory such as /proc/<pid>/fd."""
        try:
            entries = len(os.listdir(directory))  # noqa: PTH208 - names are enough
        except OSError as error:
            self.gaps.append(gap_of(part, directory, error))
        else:
            self.add(family, entries)

    def missing(self, gaps: Iterable[Gap]) -> None:
        """Note gaps that were found elsewhere."""
        self.gaps.extend(gaps)

    def reading(self) -> SourceReading:
        """Return what was collected, with one series per gap."""
        gap_samples = [
            _GAP.sample(1, ("source", self.source), ("part", gap.part), ("reason", gap.reason))
            for gap in self.gaps
        ]
        return SourceReading((*self.samples, *gap_samples), tuple(self.gaps))


def nothing_but(source: str, gap: Gap) -> SourceReading:
    """Return a reading of which only the reason is there why it is empty."""
    sheet = Sheet(source)
    sheet.missing([gap])
    return sheet.reading()


def read_small(path: Path) -> str:
    """Return the text of a kernel file of at most 1 MiB; raises OSError."""
    text = b""
    with path.open("rb", buffering=0) as file:
        while len(text) < _READ_BYTES and (more := file.read(_PIECE_BYTES)):
            text += more
    return text[:_READ_BYTES].decode("utf-8", "replace")


def gap_of(part: str, path: Path, error: OSError) -> Gap:
    """Name what an OSError means for a person who wants the figures."""
    match error.errno:
        case errno.EACCES | errno.EPERM:
            advice = "run the agent as the node's user or give it CAP_SYS_PTRACE"
            return Gap(part, GapReason.PERMISSION_DENIED, f"{path}: no permission; {advice}")
        case errno.ENOENT | errno.ENOTDIR | errno.ESRCH:
            return Gap(part, GapReason.NOT_FOUND, f"{path} does not exist")
        case None if isinstance(error, TimeoutError):
            return Gap(part, GapReason.HUNG, f"{path}: {error}")
        case errno.EOPNOTSUPP | errno.ENODEV:
            return Gap(part, GapReason.UNSUPPORTED, f"{path}: this kernel does not offer it")
        case _:
            return Gap(part, GapReason.UNREADABLE, f"{path}: {error.strerror or error}")

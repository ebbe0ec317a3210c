# SPDX-License-Identifier: Apache-2.0
"""The kinds of profile that can be taken of a node and what is known about each.

The one idea: one table answers for agent, proxy, client and custom resources alike, so that a new
kind or another ceiling is one line here.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from fodc_protocol.capabilities import SOURCE_KINDS
from fodc_protocol.errors import BadRequestError
from fodc_protocol.lean import dataclass

PROFILE_PATTERN: Final = "[a-z]([a-z0-9-]{0,38}[a-z0-9])?"
"""How a kind is called: one part of a path, of a file name and of the name of a capture."""
_NAME: Final = re.compile(PROFILE_PATTERN)
# Paths of pprof that are no profile, or one by another name; artifacts that are none.
NO_KINDS: Final = frozenset({"cmdline", "profile", "symbol", "crash", "log", *SOURCE_KINDS})


class Profile(StrEnum):
    """Kind of profile, by the name that people type.

    The names here are those of which more is known. Every other well-formed name is a kind as well,
    `Profile("goroutineleak")`: one that a node of another release of Go may offer. Such kinds are
    equal when their names are, which is why kinds are compared by `==` where they may be open.
    """

    CPU = "cpu"
    HEAP = "heap"
    ALLOCS = "allocs"
    GOROUTINE = "goroutine"
    BLOCK = "block"
    MUTEX = "mutex"
    THREADCREATE = "threadcreate"
    TRACE = "trace"
    WINDOW = "window"
    """The flight recorder's window of metrics, up to one instant."""
    CONFIG = "config"
    """The node's effective configuration, secrets redacted."""
    ONCPU = "oncpu"
    """Where threads run, as the kernel sees it."""
    OFFCPU = "offcpu"
    """Where threads wait: for a disk, a lock of the kernel, a call."""
    READ_LATENCY = "readlatency"
    """How long reads took meanwhile: a histogram of each kind of call."""
    BLOCK_LATENCY = "blocklatency"
    """How long the disk took meanwhile: a histogram of reads, of writes and of the rest."""

    @classmethod
    def _missing_(cls, value: object) -> "Profile | None":
        if not isinstance(value, str) or value in NO_KINDS or not _NAME.fullmatch(value):
            return None
        kind = str.__new__(cls, value)
        kind._name_ = kind._value_ = value
        return kind

    @property
    def is_open(self) -> bool:
        """Whether only a node knows what this kind is."""
        return self not in _FACTS

    @property
    def facts(self) -> "ProfileFacts":
        """What is known about this kind."""
        return _FACTS.get(self) or _instant(self.value, self.value, _OPEN)


class TakenFrom(StrEnum):
    """What a kind is taken from."""

    PPROF = "pprof"
    """The node's pprof port."""
    RECORDER = "recorder"
    """The agent's flight recorder: the node need not live."""
    CONFIGURATION = "configuration"
    """What the agent knows of the node's settings."""
    KERNEL = "kernel"
    """The agent's programs in the kernel (flavor EBPF)."""


class ProfileFormat(StrEnum):
    """How the bytes of a profile are to be read."""

    PPROF = "pprof"
    """Gzip of profile.proto."""
    GO_TRACE = "go-trace"
    """Go execution trace, for `go tool trace`."""
    OPENMETRICS = "openmetrics"
    """Gzip of OpenMetrics text with a time on every sample, for Prometheus and promtool."""
    CONFIGURATION = "configuration"
    """JSON: entries with value, source and whether redacted, and what could not be read."""

    @property
    def is_counted(self) -> bool:
        """Whether a manifest says how many samples there are."""
        return self in (ProfileFormat.PPROF, ProfileFormat.OPENMETRICS)


@dataclass(frozen=True, slots=True)
class ProfileFacts:
    """Facts about one kind of profile; durations in seconds.

    `path` is that of the pprof port, empty for kinds that are taken elsewhere. `timed` kinds
    last as long as asked; the others answer at once and take no duration. Of an `exclusive` kind a
    Go process runs one at a time: a second one is answered with HTTP 500.
    """

    path: str
    timed: bool
    default_duration_s: float
    max_duration_s: float
    exclusive: bool
    format: ProfileFormat
    extension: str
    crd_type: str
    note: str = ""
    taken_from: TakenFrom = TakenFrom.PPROF

    def duration_s(self, asked: float | None) -> float:
        """Return the duration to use: `asked`, the default, or 0 for kinds without one.

        Raises BadRequestError for a duration that is given to an untimed kind, is not positive,
        or is beyond the ceiling.
        """
        if asked is None:
            return self.default_duration_s
        if not self.timed:
            raise BadRequestError(
                f"duration is not allowed for {self.crd_type}: it is taken in an instant"
            )
        if not 0 < asked <= self.max_duration_s:
            raise BadRequestError(
                f"duration of {self.crd_type} must be more than 0 and at most "
                f"{self.max_duration_s:g} s, got {asked:g} s"
            )
        return asked


def _instant(path: str, crd_type: str, note: str = "") -> ProfileFacts:
    return ProfileFacts(
        path=f"/debug/pprof/{path}",
        timed=False,
        default_duration_s=0,
        max_duration_s=0,
        exclusive=False,
        format=ProfileFormat.PPROF,
        extension=".pb.gz",
        crd_type=crd_type,
        note=note,
    )


def _timed(
    path: str, crd_type: str, default_s: float, max_s: float, *, exclusive: bool, note: str = ""
) -> ProfileFacts:
    is_trace = path == "trace"
    return ProfileFacts(
        path=f"/debug/pprof/{path}",
        timed=True,
        default_duration_s=default_s,
        max_duration_s=max_s,
        exclusive=exclusive,
        format=ProfileFormat.GO_TRACE if is_trace else ProfileFormat.PPROF,
        extension=".trace" if is_trace else ".pb.gz",
        crd_type=crd_type,
        note=note,
    )


def _in_kernel(
    crd_type: str, style: ProfileFormat = ProfileFormat.PPROF, extension: str = ".pb.gz"
) -> ProfileFacts:
    return ProfileFacts(
        path="",
        timed=True,
        default_duration_s=10,
        max_duration_s=60,
        exclusive=False,
        format=style,
        extension=extension,
        crd_type=crd_type,
        note="no thread of the node did so meanwhile",
        taken_from=TakenFrom.KERNEL,
    )


_OPEN: Final = "this release knows of this kind only that the node offers it"


def _told(
    taken_from: TakenFrom, crd_type: str, style: ProfileFormat, extension: str, note: str
) -> ProfileFacts:
    """Return the facts of a kind that the agent has itself."""
    return ProfileFacts(
        path="",
        timed=False,
        default_duration_s=0,
        max_duration_s=0,
        exclusive=False,
        format=style,
        extension=extension,
        crd_type=crd_type,
        note=note,
        taken_from=taken_from,
    )


_NEEDS_RATE: Final = "empty unless the node sets a sampling rate; BanyanDB sets none"

_FACTS: Final[dict[Profile, ProfileFacts]] = {
    Profile.CPU: _timed("profile", "CPUProfile", 30, 120, exclusive=True),
    Profile.HEAP: _instant("heap", "HeapSnapshot"),
    Profile.ALLOCS: _instant("allocs", "AllocationProfile"),
    Profile.GOROUTINE: _instant("goroutine", "GoroutineDump"),
    Profile.BLOCK: _timed("block", "BlockProfile", 30, 120, exclusive=False, note=_NEEDS_RATE),
    Profile.MUTEX: _timed("mutex", "MutexProfile", 30, 120, exclusive=False, note=_NEEDS_RATE),
    Profile.THREADCREATE: _instant("threadcreate", "ThreadCreateProfile"),
    Profile.TRACE: _timed("trace", "ExecutionTrace", 5, 30, exclusive=True),
    Profile.WINDOW: _told(
        TakenFrom.RECORDER,
        "Window",
        ProfileFormat.OPENMETRICS,
        ".om.gz",
        "the flight recorder holds no sample of that time",
    ),
    Profile.CONFIG: _told(
        TakenFrom.CONFIGURATION,
        "Config",
        ProfileFormat.CONFIGURATION,
        ".json",
        "the agent cannot read what the node was told",
    ),
    Profile.ONCPU: _in_kernel("OnCPUProfile"),
    Profile.OFFCPU: _in_kernel("OffCPUProfile"),
    Profile.READ_LATENCY: _in_kernel("ReadLatency", ProfileFormat.OPENMETRICS, ".om.gz"),
    Profile.BLOCK_LATENCY: _in_kernel("BlockLatency", ProfileFormat.OPENMETRICS, ".om.gz"),
}


_LINK: Final = re.compile(r"""href=["']?([^"'?\s>]{1,64})\?""")
_MOST_OFFERED: Final = 32


def parse_profile(text: str) -> Profile:
    """Return the kind named by `text`: "cpu", "profile" or its resource type "CPUProfile".

    Another well-formed name is an open kind. Raises BadRequestError that lists what is known.
    """
    for kind, facts in _FACTS.items():
        if text in {kind.value, facts.crd_type} or (text == "profile" and kind is Profile.CPU):
            return kind
    try:
        return Profile(text)
    except ValueError:
        accepted = ", ".join(kind.value for kind in Profile)
        problem = f"profile {text!r} is not known; one of: {accepted}, or as a node offers it"
        raise BadRequestError(problem) from None


def offered_in(index: str) -> tuple[Profile, ...]:
    """Return the open kinds that the index of a pprof port links to, as Go writes it: href='heap?'.

    Sorted, at most 32; names that no kind can have are passed over.
    """
    return open_kinds(_LINK.findall(index))[:_MOST_OFFERED]


def open_kinds(words: Iterable[str]) -> tuple[Profile, ...]:
    """Return the open kinds among some words, sorted, each once."""
    named = {word for word in words if _NAME.fullmatch(word)} - NO_KINDS - set(Profile)
    return tuple(Profile(word) for word in sorted(named))


_RECORDS: Final = {"crash": ".json", "pressure": ".json", "log": ".log"}


def extension_of(kind: str) -> str:
    """Return how files of this kind end: of a profile, or of a record that is none."""
    if kind in _RECORDS:
        return _RECORDS[kind]
    try:
        return Profile(kind).facts.extension
    except ValueError:
        return ".bin"


def pprof_target(kind: Profile, duration_s: float) -> str:
    """Return path and query for the node's pprof port.

    Go reads whole seconds only and silently records 30 s of what it cannot read, hence the
    rounding up; a trace accepts fractions.
    """
    facts = kind.facts
    if not facts.timed:
        return facts.path
    if kind is Profile.TRACE:
        return f"{facts.path}?seconds={duration_s:g}"
    return f"{facts.path}?seconds={max(1, -int(-duration_s // 1))}"

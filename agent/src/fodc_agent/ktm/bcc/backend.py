# SPDX-License-Identifier: Apache-2.0
"""Kernel telemetry by BCC instead of the programs that are built ahead of time: on demand only.

The one idea: BCC compiles against headers, and against those of another kernel it reads structures
where they are not, without an error. So headers that are not this kernel's are refused beforehand,
and everything else of it, a hundred MiB, is in a process that ends with this one.
"""

import json
import logging
import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from fodc_agent.abilities import Facts, kernel_lacks
from fodc_agent.ktm.families import samples_of
from fodc_agent.ktm.histograms import SLOTS, Latency
from fodc_agent.ktm.target import NOBODY, Target, TargetKind
from fodc_agent.sources.readings import Gap, GapReason
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import Sample

_log: Final = logging.getLogger(__name__)

INTERPRETER: Final = "/usr/bin/python3"
"""The distribution's own, for which Debian's python3-bpfcc is."""
CHILD: Final = Path(__file__).with_name("child.py")
MODULES: Final = Path("/lib/modules")
GROUPS: Final = ("sys", "mm")
"""What it counts; the others need the kernel's structures, or are profiles."""
_CACHE_LOOKUP: Final = "cache_lookup"
_START_S: Final = 55.0
_ANSWER_S: Final = 5.0
_MOST_BYTES: Final = 256 * 1024
_RELEASES: Final = ("include/config/kernel.release", "include/generated/utsrelease.h")


def headers_problem(release: str, source: Path) -> str:
    """Return why the headers in a folder are not those of this kernel, empty when they are."""
    for name in _RELEASES:
        try:
            text = (source / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found = re.search(r'(?:UTS_RELEASE "|^)([^\s"#]+)', text)
        if found and found[1] == release:
            return ""
        other = found[1] if found else "an unknown kernel"
        return f"the headers in {source} are of {other}, and the kernel is {release}"
    return f"there are no headers of {release} in {source}; install linux-headers-{release}"


def headers_of(release: str) -> Path:
    """Return where BCC looks for headers."""
    return Path(os.environ.get("BCC_KERNEL_SOURCE") or MODULES / release / "build")


class BccTelemetry:
    """The same as `telemetry.Telemetry`, by BCC; its methods block for a moment."""

    takes_captures: Literal[False] = False
    load_s: Final = 60.0

    def __init__(
        self,
        groups: Sequence[str],
        *,
        release: str = "",
        interpreter: str = INTERPRETER,
        child: Path = CHILD,
    ) -> None:
        """Take the names of the groups; `release` is that of the kernel unless told otherwise."""
        self.gaps: tuple[Gap, ...] = ()
        self.target: Target = NOBODY
        self._groups = groups
        self._release = release or os.uname().release
        self._command = (interpreter, "-s", str(child))
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._runs: Mapping[str, object] = {}

    @property
    def is_counting(self) -> bool:
        """Whether the other process counts."""
        return self._process is not None

    @property
    def process_id(self) -> int:
        """The other process, 0 where there is none."""
        return 0 if self._process is None else self._process.pid

    # ---- life ------------------------------------------------------------------------------

    def load(self, facts: Facts) -> None:
        """Start the other process, once; what it cannot becomes a gap."""
        lacks = {why: text for why, text in kernel_lacks(facts).items() if why != "NoBTF"}
        if lacks:
            self.gaps = tuple(Gap("kernel", GapReason(why), text) for why, text in lacks.items())
            return
        if problem := headers_problem(self._release, headers_of(self._release)):
            self.gaps = (Gap("kernel", GapReason.NO_HEADERS, f"--ktm-backend bcc: {problem}"),)
            return
        counted = [name for name in self._groups if name in GROUPS]
        self.gaps = tuple(
            Gap(name, GapReason.UNSUPPORTED, f"--ktm-backend bcc has no group {name}")
            for name in self._groups
            if name not in GROUPS
        )
        self._start(counted)

    def _start(self, groups: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*self._command, *groups],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            told = self._answer(_START_S)
            _log.info("kernel_by_bcc pid=%d groups=%s", self.process_id, ",".join(groups))
        except OSError as error:
            told = {"refused": str(error)}
        if "refused" in told:
            self.close()
            text = f"--ktm-backend bcc: {told['refused']}; it needs Debian's python3-bpfcc"
            self.gaps = (Gap("kernel", GapReason.REFUSED, text), *self.gaps)
        self._runs = told

    def close(self) -> None:
        """End the other process, and with it everything that it has in the kernel."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    # ---- work ------------------------------------------------------------------------------

    def aim(self, target: Target) -> None:
        """Count for another target from now on; raises OSError when the process does not answer."""
        if target == self.target:
            return
        self._ask({"target": numbers_of(target)})
        self.target = target
        gap = Gap("cgroup", GapReason.UNSUPPORTED, "bcc counts no cgroup of version 1")
        others = tuple(one for one in self.gaps if one != gap)
        self.gaps = (*others, gap) if target.kind is TargetKind.MEMORY else others

    def samples(self) -> Iterator[Sample]:
        """Yield everything that was counted since the load; raises OSError as `aim`."""
        counted = _Counted(self._ask({}), has_lookups=bool(self._runs.get("has_lookups")))
        for group in self._groups:
            if group in GROUPS:
                yield from samples_of(group, counted)

    def _ask(self, question: Mapping[str, object]) -> Mapping[str, object]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
        return self._answer(_ANSWER_S)

    def _answer(self, within_s: float) -> Mapping[str, object]:
        """Return the next line; raises OSError when none comes in time, or another thing."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        ends_s = time.monotonic() + within_s
        while b"\n" not in self._pending:
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not select.select([process.stdout], [], [], left_s)[0]:
                raise TimeoutError(f"bcc did not answer within {within_s:g} s")
            piece = os.read(process.stdout.fileno(), _MOST_BYTES)
            if not piece or len(self._pending) > _MOST_BYTES:
                raise ChildProcessError("bcc ended, or does not answer in lines")
            self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        told = json.loads(line)
        return told if isinstance(told, dict) else {"refused": "it does not answer in objects"}


def numbers_of(target: Target) -> list[int]:
    """Return a target as `target_t` of programs.c has it."""
    namespace = Path("/proc/self/ns/pid").stat()
    return [
        *(int(target.kind), target.level, target.cgroup_id, target.tgid),
        *(namespace.st_dev, namespace.st_ino),
    ]


@dataclass(frozen=True, slots=True)
class _Counted:
    """An answer as `families` reads it."""

    told: Mapping[str, object]
    has_lookups: bool

    def latency(self, name: str, which: int) -> Latency:
        slots = self._numbers(name, which)
        return Latency(tuple(slots[:SLOTS]), *slots[SLOTS:])

    def number(self, name: str, which: int) -> int:
        return self._numbers(name, which)[0]

    def runs(self, program: str) -> bool:
        return self.has_lookups or program != _CACHE_LOOKUP

    def _numbers(self, name: str, which: int) -> list[int]:
        places = self.told.get(name)
        numbers = places[which] if isinstance(places, list) and which < len(places) else None
        if not isinstance(numbers, list) or not all(isinstance(one, int) for one in numbers):
            raise ChildProcessError(f"bcc tells no {name}")
        return numbers

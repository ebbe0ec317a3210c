# SPDX-License-Identifier: Apache-2.0
"""The agents of all targets: made, ended and made again as the file of targets says.

The one idea: the file is a wish and the last good one counts. What changes is done to the targets
that it concerns and to no other; a target that cannot be attached to is tried again later and is a
line in `/readyz` until then.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from fodc_agent.crew import Crew
from fodc_agent.lanes import Lane
from fodc_agent.remote.leftovers import Leftovers
from fodc_agent.remote.shares import LEAST_WINDOW_BYTES, Share
from fodc_agent.remote.targets import FOLDER, Target, Targets, parse_targets, settings_of
from fodc_agent.settings import Settings
from fodc_agent.web.routes import Check
from fodc_protocol.errors import FodcError
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.families import FamilyBlock

_log: Final = logging.getLogger(__name__)

POLL_S: Final = 2.0
_RETRY_S: Final = 30.0
_START_S: Final = 20.0
_CLOSE_S: Final = 5.0
_SWEEP_S: Final = 60.0
_MOST_BYTES: Final = 1 << 20


class Agent(Protocol):
    """The agent of one node."""

    @property
    def has_failed(self) -> bool:
        """Whether it has to be made anew."""

    async def start(self) -> None:
        """Begin everything."""

    async def close(self) -> None:
        """End everything."""

    def resize(self, share: Share) -> None:
        """Take other limits."""

    def blocks(self) -> Iterable[FamilyBlock]:
        """Return the newest values."""

    def checks(self) -> Sequence[Check]:
        """Return what is ready and what is not."""


@dataclass(slots=True)
class _Place:
    """One target and its agent, None while it cannot be attached to."""

    target: Target
    agent: Agent | None = None
    problem: str = ""
    retry_at_s: float = 0.0


class RemoteNodes:
    """Many nodes over the network; `start` reads the file, a task watches it."""

    def __init__(
        self,
        settings: Settings,
        path: Path,
        make: Callable[[Settings], Agent],
        *,
        clock: Callable[[], float] = time.monotonic,
        poll_s: float = POLL_S,
    ) -> None:
        self.incarnation = os.urandom(8).hex()
        self._settings = settings
        self._path = path
        self._make = make
        self._clock = clock
        self._poll_s = poll_s
        self._whole = Share(
            settings.window_budget_bytes, settings.recorder_max_bytes, settings.capture_quota_bytes
        )
        self._share = self._whole
        self._places: dict[str, _Place] = {}
        self._crew = Crew()
        self._signature: tuple[int, ...] = ()
        self._wanted: Targets | None = None
        self._homeless: list[str] = []
        """Targets for which the memory has no window."""
        self._problem = "it was not read yet"
        roots = [settings.capture_dir, *filter(None, [settings.recorder_dir])]
        self._leftovers = Leftovers([root / FOLDER for root in roots])
        self._swept_at_s = clock()
        self._file = Lane("targets-file")
        self._disk = Lane("leftovers", timeout_s=_SWEEP_S)

    # ---- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Attach to the targets of the file and watch it from now on."""
        self._crew.start("targets", self._watch)

    async def close(self) -> None:
        """Leave every target, all at the same time."""
        await self._crew.stop(0.1)
        await asyncio.gather(*map(self._detach, list(self._places.values())))

    async def failed(self) -> None:
        """Wait until the file is watched no more."""
        await self._crew.failed.wait()

    async def _watch(self) -> None:
        while True:
            await self._read()
            await self._attach()
            await self._sweep()
            await asyncio.sleep(self._poll_s)

    # ---- the file ----------------------------------------------------------------------------

    async def _read(self) -> None:
        """Take the file if it is another one than before; keep the last good one."""
        try:
            signature = await self._file.run(partial(_signature_of, self._path))
            if signature == self._signature:
                return
            self._signature = signature
            self._wanted = parse_targets(await self._file.run(partial(_text_of, self._path)))
        except OSError as error:
            self._signature = ()
            self._keep_last(error.strerror or str(error))
        except FodcError as error:
            self._keep_last(error.message)
        else:
            self._note("; ".join(self._wanted.refused[:8]))

    def _keep_last(self, why: str) -> None:
        kept = "there is no good one yet" if self._wanted is None else "the last good one counts"
        self._note(f"--targets-file {self._path}: {why}; {kept}")

    def _note(self, problem: str) -> None:
        if problem and problem != self._problem:
            _log.warning("targets_file_problem problem=%r", problem)
        if self._problem and not problem:
            _log.info("targets_file_read path=%s", self._path)
        self._problem = problem

    # ---- targets -----------------------------------------------------------------------------

    async def _attach(self) -> None:
        """Make what is there what is wanted."""
        if self._wanted is None:
            return
        most = self._whole.places
        self._homeless = [target.key for target in self._wanted.targets[most:]]
        wanted = {target.key: target for target in self._wanted.targets[:most]}
        gone = [one for key, one in self._places.items() if wanted.get(key) != one.target]
        for place in gone:
            del self._places[place.target.key]
        await asyncio.gather(*map(self._detach, gone))
        fresh = {key: _Place(target) for key, target in wanted.items() if key not in self._places}
        self._places.update(fresh)
        if gone or fresh:
            self._divide()
        if self._homeless and fresh:
            names = ", ".join(self._homeless)
            _log.warning("targets_refused targets=%s reason=%r", names, self._no_window)
        await asyncio.gather(*map(self._ensure, list(self._places.values())))

    def _divide(self) -> None:
        """Give every target its share of the whole; those that run hear of a new one."""
        share = self._whole.among(len(self._places))
        if share != self._share:
            self._share = share
            for place in self._places.values():
                if place.agent is not None:
                    place.agent.resize(share)
        _log.info(
            "targets count=%d window_bytes_each=%d journal_bytes_each=%d quota_bytes_each=%d",
            len(self._places),
            share.window_bytes,
            share.journal_bytes,
            share.quota_bytes,
        )

    async def _ensure(self, place: _Place) -> None:
        """Attach to a target that has no agent, or whose agent broke."""
        if place.agent is not None:
            if not place.agent.has_failed:
                return
            await self._detach(place)
            self._postpone(place, "its agent broke again and again, see the log")
        if self._clock() < place.retry_at_s:
            return
        try:
            place.agent = self._make(settings_of(place.target, self._settings, self._share))
            async with asyncio.timeout(_START_S):
                await place.agent.start()
        except Exception as error:  # noqa: BLE001 - told, and tried again; others go on
            _log.exception("target_not_attached target=%s", place.target.key)
            await self._detach(place)
            self._postpone(place, f"cannot be attached to: {type(error).__name__}: {error}")
        else:
            place.problem = ""
            _log.info("target_attached target=%s host=%s", place.target.key, place.target.host)

    def _postpone(self, place: _Place, problem: str) -> None:
        place.problem = problem
        place.retry_at_s = self._clock() + _RETRY_S

    async def _detach(self, place: _Place) -> None:
        agent, place.agent = place.agent, None
        if agent is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_S):
                await agent.close()
        except Exception:  # noqa: BLE001 - it is gone either way, and others must go on
            _log.exception("target_left_badly target=%s", place.target.key)
        else:
            _log.info("target_left target=%s", place.target.key)

    async def _sweep(self) -> None:
        """Remove what targets that are gone for long left on the disk."""
        now_s = self._clock()
        if self._wanted is None or now_s - self._swept_at_s < _SWEEP_S:
            return
        self._swept_at_s = now_s
        kept = {place.target.folder for place in self._places.values()}
        try:
            removed = await self._disk.run(partial(self._leftovers.sweep, kept, now_s))
        except OSError as error:
            _log.warning("target_leftovers_kept problem=%r", str(error))
            return
        for path in removed:
            _log.info("target_leftovers_removed path=%s", path)

    # ---- for the agent's own port ----------------------------------------------------------------

    def blocks(self) -> Iterator[FamilyBlock]:
        """Yield the newest values of all targets; their labels tell them apart."""
        for place in self._places.values():
            if place.agent is not None:
                yield from place.agent.blocks()

    def checks(self) -> list[Check]:
        """Return a line for the file and one for each target."""
        checks = [Check("targets-file", not self._problem, self._problem)]
        checks.extend(_check(place) for place in self._places.values())
        why = self._no_window
        checks.extend(Check(f"target {key}", ok=False, message=why) for key in self._homeless)
        return checks

    @property
    def _no_window(self) -> str:
        whole, least = self._whole.window_bytes // 1024, LEAST_WINDOW_BYTES // 1024
        return (
            f"refused: a window needs {least} KiB and the memory for windows is {whole} KiB, which "
            f"is enough for {self._whole.places} targets: raise --window-budget"
        )


def _check(place: _Place) -> Check:
    name = f"target {place.target.key}"
    if place.agent is None:
        return Check(name, ok=False, message=place.problem or "being attached to")
    lacks = [one for one in place.agent.checks() if not one.ok]
    text = "; ".join(f"{one.name}: {one.message}" for one in lacks)
    return Check(name, not lacks, text)


def _signature_of(path: Path) -> tuple[int, ...]:
    """Return what changes when the file is replaced: a ConfigMap's is another inode."""
    found = path.stat()
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _text_of(path: Path) -> str:
    """Return the text; raises OSError when it is too long and TargetsError otherwise."""
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise OSError(f"longer than {_MOST_BYTES} bytes")
    return data.decode("utf-8-sig", "replace")

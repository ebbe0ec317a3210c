# SPDX-License-Identifier: Apache-2.0
"""The directory in which captures wait until the proxy has them.

The one idea: beside each capture lies a marker that is replaced atomically, so that after any
sudden death the directory says of every order what became of it. Bytes go to a part file and get
their final name only when they are whole; a marker that still says "running" at the start is the
trace of an agent that died. Calls block on the disk: they belong in its lane.
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.captures.outcomes import Cancelled, Captured, Failed, Order, Outcome
from fodc_agent.lanes import Lane
from fodc_agent.own_folder import make_own
from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.ids import checked_id, is_id
from fodc_protocol.lean import dataclass
from fodc_protocol.profiles import Profile, parse_profile

# Suffixes of our own: whatever else lies in the directory is never touched.
_MARKER: Final = ".fodc-state"
_PART: Final = ".fodc-part"
_FRESH: Final = ".fodc-fresh"
_MARKER_BYTES: Final = 64 * 1024
_DISK_S: Final = 30.0
"""How long a disk may take for one step of a capture."""


@dataclass(frozen=True, slots=True)
class Held:
    """An order of which the spool knows the end."""

    command_id: str
    outcome: Outcome
    finished_at_ms: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the result, 0 where there is none."""
        return self.outcome.manifest.size_bytes if isinstance(self.outcome, Captured) else 0


class PartFile:
    """The bytes of a running capture: appended, counted and hashed as they come."""

    def __init__(self, path: Path, disk: Lane, more: Callable[[int], int] | None = None) -> None:
        """Write to `path`; `more` is asked before the file grows beyond what it returned last.

        It takes the size that is wanted and returns the one that is allowed, or raises what
        `append` is to raise.
        """
        self.path: Final = path
        self._disk = disk
        self.size_bytes = 0
        self._more = more
        self._allowed_bytes = 0
        self._digest = hashlib.sha256()
        self._file: io.FileIO | None = None

    def open(self) -> None:
        """Create the file; raises OSError, also when it exists."""
        self._file = _create(self.path, os.O_EXCL)

    @property
    def _opened(self) -> io.FileIO:
        if self._file is None:
            raise OSError(f"{self.path} is not open")
        return self._file

    async def append(self, data: bytes) -> None:
        """Write in the disk's lane; raises OSError as `write` does, and what `more` raises."""
        wanted_bytes = self.size_bytes + len(data)
        if self._more is not None and wanted_bytes > self._allowed_bytes:
            self._allowed_bytes = self._more(wanted_bytes)
        await self._disk.run(partial(self.write, data))

    async def begin_again(self) -> None:
        """Forget what was written, for another attempt; in the disk's lane."""
        await self._disk.run(self.restart)

    def write(self, data: bytes) -> None:
        """Append all of `data`; raises OSError when the disk is full. Blocks."""
        _write(self._opened, data)
        self._digest.update(data)
        self.size_bytes += len(data)

    @property
    def sha256(self) -> str:
        """Checksum of what was written, lower-case hexadecimal."""
        return self._digest.hexdigest()

    def restart(self) -> None:
        """Forget what was written. Blocks."""
        self._opened.seek(0)
        self._opened.truncate()
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def seal(self) -> None:
        """Bring everything to the disk and close."""
        os.fsync(self._opened.fileno())
        self.close()

    def close(self) -> None:
        """Close without a promise; bytes that nobody committed go with `fail` or `recover`."""
        if self._file is not None:
            self._file.close()


def _create(path: Path, flag: int) -> io.FileIO:
    """Open for writing, readable by nobody else from its first moment on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flag, 0o600)
    return io.FileIO(handle, "wb")


def _write(file: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class Spool:
    """Keeps captures in one directory, mode 0700, files 0600."""

    def __init__(self, directory: Path) -> None:
        """Use `directory`; nothing is touched before `recover`."""
        self.directory: Final = directory
        self.disk: Final = Lane("spool", timeout_s=_DISK_S)
        """Where all calls that block belong."""

    # ---- life of one capture ----------------------------------------------------------------

    def part_of(self, order: Order, more: Callable[[int], int] | None = None) -> PartFile:
        """Return the file, not opened yet, for the bytes of an order; `more` as for PartFile."""
        return PartFile(self._path(order.command_id, _PART), self.disk, more)

    def begin(self, part: PartFile, order: Order, started_at_ms: int) -> None:
        """Note that the order runs and open the file for its bytes.

        Raises OSError, also when the same order runs already.
        """
        part.open()
        self._mark(order.command_id, _running(order, started_at_ms))

    def commit(self, part: PartFile, manifest: Manifest) -> Path:
        """Give the bytes their name, then say "captured": a marker never promises too much."""
        path = self._data_path(manifest.command_id, manifest.profile)
        part.seal()
        part.path.replace(path)
        captured = {"state": "captured", "manifest": manifest.to_dict()}
        self._mark(manifest.command_id, captured, finished_at_ms=manifest.finished_at_ms)
        return path

    def fail(self, command_id: str, outcome: Failed | Cancelled, at_ms: int) -> None:
        """Remember how the order ended without a result, and drop its bytes."""
        state = "failed" if isinstance(outcome, Failed) else "cancelled"
        ended = {"state": state, "reason": outcome.reason.value, "message": outcome.message}
        self._mark(command_id, ended, finished_at_ms=at_ms)
        self._drop_bytes(command_id)

    def read(self, command_id: str, offset_bytes: int, length_bytes: int) -> bytes:
        """Return bytes of a result, fewer at its end; raises FodcError (NotFound), OSError."""
        held = self._load(checked_id(command_id, "command_id"))
        if held is None or not isinstance(held.outcome, Captured):
            raise FodcError(f"no result of {command_id} is held", reason=Reason.NOT_FOUND)
        with self._data_path(command_id, held.outcome.manifest.profile).open("rb") as file:
            file.seek(offset_bytes)
            return file.read(length_bytes)

    def path_of(self, manifest: Manifest) -> Path:
        """Return where the bytes of a result lie."""
        return self._data_path(manifest.command_id, manifest.profile)

    def forget(self, command_id: str) -> None:
        """Remove everything about an order; one that is not known is no error."""
        if is_id(command_id):
            # Bytes first: what is left after a sudden death is then still listed.
            self._drop_bytes(command_id)
            self._path(command_id, _MARKER).unlink(missing_ok=True)

    # ---- after a start ------------------------------------------------------------------------

    def recover(self, at_ms: int) -> list[Held]:
        """Make the directory usable and return what it holds, oldest end first.

        Orders that ran when the agent died become failed (AgentRestarted); bytes without a marker
        and markers that cannot be read are removed. Raises OSError when it cannot be written to.
        """
        make_own(self.directory)
        self.directory.chmod(0o700)
        for leftover in [*self.directory.glob("*" + _PART), *self.directory.glob("*" + _FRESH)]:
            leftover.unlink()
        held = [self._settled(command_id, at_ms) for command_id in self._marked()]
        known = [item for item in held if item is not None]
        self._drop_strangers({item.command_id for item in known})
        return sorted(known, key=lambda item: (item.finished_at_ms, item.command_id))

    def _marked(self) -> list[str]:
        return sorted(path.name.removesuffix(_MARKER) for path in self._glob(_MARKER))

    def _settled(self, command_id: str, at_ms: int) -> Held | None:
        """Return the end of an order, deciding it where the last agent could not."""
        held = self._load(command_id) if is_id(command_id) else None
        if held is None:
            self._path(command_id, _MARKER).unlink()
        elif held.finished_at_ms == 0:
            self.fail(command_id, _died_with_agent(), at_ms)
            return Held(command_id, _died_with_agent(), at_ms)
        elif isinstance(held.outcome, Captured) and not self._is_whole(held.outcome.manifest):
            lost = Failed(Reason.STORAGE_FAILED, "the spooled bytes are gone or incomplete")
            self.fail(command_id, lost, held.finished_at_ms)
            return Held(command_id, lost, held.finished_at_ms)
        return held

    def _is_whole(self, manifest: Manifest) -> bool:
        try:
            return self.path_of(manifest).stat().st_size == manifest.size_bytes
        except OSError:
            return False

    def _drop_strangers(self, known: set[str]) -> None:
        """Remove bytes that no marker speaks of (a forget that was cut short)."""
        for extension in _EXTENSIONS:
            for path in self._glob(extension):
                if path.name.removesuffix(extension) not in known:
                    path.unlink()

    # ---- files --------------------------------------------------------------------------------

    def _glob(self, suffix: str) -> Iterator[Path]:
        return self.directory.glob("*" + suffix)

    def _path(self, command_id: str, suffix: str) -> Path:
        return self.directory / (command_id + suffix)

    def _data_path(self, command_id: str, profile: str) -> Path:
        return self._path(command_id, _extension(profile))

    def _drop_bytes(self, command_id: str) -> None:
        for suffix in (_PART, *_EXTENSIONS):
            self._path(command_id, suffix).unlink(missing_ok=True)

    def _mark(self, command_id: str, state: Mapping[str, object], finished_at_ms: int = 0) -> None:
        """Replace the marker so that either the old or the new one is there, never a half."""
        text = json.dumps({"version": 1, "finished_at_ms": finished_at_ms, **state})
        fresh = self._path(command_id, _FRESH)
        with _create(fresh, os.O_TRUNC) as file:
            _write(file, text.encode())
            os.fsync(file.fileno())
        fresh.replace(self._path(command_id, _MARKER))
        _sync_directory(self.directory)

    def _load(self, command_id: str) -> Held | None:
        """Return what a marker says, None when it is missing or unreadable."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, FodcError):
            with self._path(command_id, _MARKER).open("rb") as file:
                state = json.loads(file.read(_MARKER_BYTES))
            outcome = _OUTCOMES[state["state"]](state)
            return Held(command_id, outcome, int(state["finished_at_ms"]))
        return None


def _running(order: Order, started_at_ms: int) -> dict[str, object]:
    return {
        "state": "running",
        "profile": order.profile.value,
        "request_id": order.request_id,
        "started_at_ms": started_at_ms,
    }


def _died_with_agent() -> Failed:
    return Failed(
        Reason.AGENT_RESTARTED, "the agent ended while this capture ran; nothing of it is left"
    )


# State of a marker to the outcome that it records; "running" is settled by `recover`.
_OUTCOMES: Final[dict[str, Callable[[dict[str, object]], Outcome]]] = {
    "running": lambda _: _died_with_agent(),
    "captured": lambda state: Captured(Manifest.from_dict(_mapping(state["manifest"]))),
    "failed": lambda state: Failed(Reason(str(state["reason"])), str(state["message"])),
    "cancelled": lambda state: Cancelled(Reason(str(state["reason"])), str(state["message"])),
}


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("manifest is no object")
    return value


def _extension(profile: str) -> str:
    return ".fodc" + parse_profile(profile).facts.extension


_EXTENSIONS: Final = tuple(sorted({_extension(kind.value) for kind in Profile}))


def _sync_directory(directory: Path) -> None:
    """Bring a rename to the disk; without it a power cut may undo it."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

# SPDX-License-Identifier: Apache-2.0
"""Run a command that may take minutes and say every half minute that it still works.

The one idea: nobody looks at a silent terminal; what the command itself said is kept for the case
that it fails.
"""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Final, NoReturn

PROGRESS_EVERY_S: Final = 30.0
END_DEADLINE_S: Final = 10.0
LAST_LINES: Final = 15

Say = Callable[[str], None]


class CommandError(Exception):
    """A command failed or took too long; the text is what it said last."""


def say_as(speaker: str) -> Say:
    """Return a function that tells one line of progress on standard error."""

    def say(text: str) -> None:
        print(f"{speaker}: {text}", file=sys.stderr, flush=True)

    return say


def heed_signals() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt.

    Python does so for SIGINT unless it is ignored at the start, as in the background of a shell.
    """
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.default_int_handler)


def end_with(main: Callable[[], int]) -> NoReturn:
    """End the program with what `main` returns; in words when nobody takes what it prints."""
    try:
        code = main()
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in _NOBODY_READS:
            raise
        print(f"standard output takes nothing more: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


_NOBODY_READS: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EBADF})


def path_line() -> str:
    """Return what a person types so that the commands of this environment are found."""
    return f"export PATH={Path(sys.executable).parent}:$PATH"


def cache_root() -> Path:
    """Return where everything that was built is kept, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "banyandb-fodc"


@contextlib.contextmanager
def locked(path: Path, say: Say) -> Iterator[None]:
    """Let one run at a time do what is inside; one that has to wait says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            say("another run is building; waiting for it …")
            flock(lock, LOCK_EX)
        yield


def run_long(
    command: Sequence[str],
    what: str,
    say: Say,
    *,
    deadline_s: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end, with a word now and then; raises CommandError."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
        )
        _RUNNING.add(process)
        try:
            _wait(process, began, what, say, deadline_s)
        finally:
            _end(process)
            _RUNNING.discard(process)
        if process.returncode != 0:
            words.seek(0)
            raise CommandError("\n".join(words.read().splitlines()[-LAST_LINES:]))


def _wait(
    process: subprocess.Popen[bytes], began: float, what: str, say: Say, deadline_s: float
) -> None:
    while True:
        try:
            process.wait(PROGRESS_EVERY_S)
        except subprocess.TimeoutExpired:
            spent_s = time.monotonic() - began
            if spent_s > deadline_s:
                raise CommandError(f"{what} did not end within {deadline_s:g} s") from None
            say(f"still at {what}, {spent_s:.0f} s …")
        else:
            return


_RUNNING: Final[set[subprocess.Popen[bytes]]] = set()


def end_running() -> None:
    """End the commands of other threads, which Ctrl-C does not reach: each then fails there."""
    for process in tuple(_RUNNING):
        process.terminate()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a command clean up behind itself; one that does not end in time is killed."""
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_DEADLINE_S)
    finally:
        process.kill()
        process.wait()

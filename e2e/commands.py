# SPDX-License-Identifier: Apache-2.0
"""Run a command that may take minutes and say every half minute that it still works.

The one idea: nobody looks at a silent terminal; what the command itself said is kept for the case
that it fails.
"""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

PROGRESS_EVERY_S: Final = 30.0
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
        try:
            _wait(process, began, what, say, deadline_s)
        finally:
            process.kill()
            process.wait()
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

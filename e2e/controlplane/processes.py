# SPDX-License-Identifier: Apache-2.0
"""Processes that belong to whoever started them: they log to a file and end with their owner.

The one idea: a child is asked to die with its parent by the kernel, so that even a killed test run
leaves nothing behind, and is always ended by its own id.
"""

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

POLL_S: Final = 0.05
STOP_DEADLINE_S: Final = 10.0
LOG_LINES: Final = 25

Condition: TypeAlias = Callable[[], bool]


class ControlPlaneError(Exception):
    """The control plane cannot be had or did not start; the text says why."""


@dataclass(slots=True)
class Child:
    """One running program and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise ControlPlaneError with the end of the log when it has ended."""
        if self.process.poll() is not None:
            told = f"{self.name} ended with status {self.process.returncode}"
            raise ControlPlaneError(f"{told}:\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal and wait; what does not end in time is killed."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(name: str, command: Sequence[str], folder: Path) -> Child:
    """Start a program in its own session, away from the terminal's Ctrl-C."""
    log = folder / f"{name}.log"
    with log.open("ab") as words:
        process = subprocess.Popen(  # fixed program and arguments
            [*_dying_with_parent(), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(name, process, log)


def _dying_with_parent() -> Sequence[str]:
    """Have the kernel kill the child when we die.

    It acts on the end of the starting *thread*, so another than the main one does without.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return ()
    return (setpriv, "--pdeathsig", "KILL")


def free_ports(count: int) -> list[int]:
    """Return loopback ports, all different, that nobody else is given until this process ends.

    Who is told one may listen there, also again and again; in between nobody answers there.
    """
    return [_held_port() for _ in range(count)]


def _held_port() -> int:
    """Take a port without listening: it can be listened on, but is chosen for nobody else."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port = int(held.getsockname()[1])
    held.detach()  # it stays open
    return port


def listens(host: str, port: int) -> bool:
    """Tell whether somebody takes connections at this address."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def wait_until(
    what: str, holds: Condition, *, deadline_s: float, children: Sequence[Child] = ()
) -> None:
    """Ask until it holds; ControlPlaneError when a child ends first or time is over."""
    began = time.monotonic()
    while not holds():
        for child in children:
            child.check()
        if time.monotonic() - began > deadline_s:
            tails = "\n".join(f"{child.name}:\n{child.tail()}" for child in children)
            raise ControlPlaneError(f"{what}: not within {deadline_s:g} s\n{tails}")
        time.sleep(POLL_S)

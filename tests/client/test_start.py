# SPDX-License-Identifier: Apache-2.0
"""What a start of the program costs, and what it says when its output cannot be written."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

FODC = (sys.executable, "-m", "fodc_client")


@pytest.fixture
def refusing():
    """Host and port of loopback where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def imported(*argv):
    """Return the names of the modules that a run of the program loads."""
    command = [sys.executable, "-X", "importtime", "-m", "fodc_client", *argv]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}


@pytest.mark.parametrize("argv", [["--help"], ["version"], ["version", "--client"]], ids=" ".join)
def test_help_and_version_load_no_event_loop_and_no_library(argv, refusing, monkeypatch):
    """C5: `fodc version` cost 0.55 s of CPU, most of it spent on libraries that it did not need."""
    monkeypatch.setenv("FODC_PROXY", refusing)

    libraries = {"aiohttp", "argcomplete", "asyncio", "msgspec", "rich.console", "yaml"}
    assert imported(*argv) & libraries == set()


@pytest.mark.parametrize("verb", ["nodes", "capture", "config", "windows", "doctor"])
def test_help_of_a_verb_loads_nothing_that_asks_or_draws(verb):
    """What its help loads, each press of TAB behind it loads too."""
    assert imported(verb, "--help") & {"aiohttp", "argcomplete", "rich.console", "yaml"} == set()


@pytest.mark.parametrize("buffering", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("argv", [["--help"], ["version", "--client"], ["nodes", "--help"]])
def test_full_disk_below_stdout_is_one_line_and_a_failure(argv, buffering, monkeypatch):
    """C5: a traceback, or nothing at all and exit status 0."""
    monkeypatch.setenv("PYTHONUNBUFFERED", buffering)
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [*FODC, *argv], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )

    assert ran.returncode == 1
    assert ran.stderr == "fodc: cannot write the output: No space left on device\n"


def test_closed_stdout_is_one_line_and_a_failure():
    """C5: a traceback about None."""
    command = f"exec {sys.executable} -m fodc_client version --client >&-"

    ran = subprocess.run(
        ["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )

    assert ran.returncode == 1
    assert ran.stderr == "fodc: cannot write the output: standard output is closed\n"

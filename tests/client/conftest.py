# SPDX-License-Identifier: Apache-2.0
"""A real proxy in this process, and ways to run `fodc` against it."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fodc_client.__main__ import main
from tests.client.stage import Loop, Relay, Stage

DATA = Path(__file__).parent.parent / "data" / "pprof"
RECORDED = {
    "cpu": "profile-5s.pb.gz",
    "heap": "heap.pb.gz",
    "goroutine": "goroutine.pb.gz",
    "block": "block.pb.gz",
    "threadcreate": "threadcreate.pb.gz",
}


@pytest.fixture(scope="session")
def recorded():
    """The bytes of a profile that a real node gave."""
    return lambda profile: (DATA / RECORDED[profile]).read_bytes()


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def told():
    """Settings of the proxy; a module that needs others says so by a fixture of this name."""
    return {}


@pytest.fixture
def stage(loop, tmp_path_factory, told):
    """A proxy without agents yet."""
    stage = Stage(loop, tmp_path_factory.mktemp("proxy"), **told)
    yield stage
    stage.close()


@pytest.fixture
def relay(loop, stage):
    """A relay before the proxy; `fodc` and `spawn` go through it where a test asks for it."""
    relay = Relay.before(loop, stage.url)
    yield relay
    relay.close()


@pytest.fixture
def url(request, stage):
    """Where the program is sent."""
    through = "relay" in request.fixturenames
    return request.getfixturevalue("relay").url if through else stage.url


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in ("FODC_PROXY", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fodc(capsys, url) -> Callable[..., Ran]:
    """Run the program in this process against the proxy."""

    def run(*argv):
        code = main([str(word) for word in argv] + ["--proxy", url])
        captured = capsys.readouterr()
        return Ran(int(code), captured.out, captured.err)

    return run


@pytest.fixture
def fodc_alone(capsys) -> Callable[..., Ran]:
    """Run the program where no proxy is: what it says of usage, it says without asking."""

    def run(*argv):
        code = main([str(word) for word in argv] + ["--proxy", "127.0.0.1:1"])
        captured = capsys.readouterr()
        return Ran(int(code), captured.out, captured.err)

    return run


@pytest.fixture
def spawn(url, tmp_path):
    """Start the program as a process of its own; it is ended at the end of the test."""
    started = []

    def run(*argv, **more):
        environment = {**os.environ, "FODC_PROXY": url, **more.pop("env", {})}
        prefix = more.pop("prefix", [])
        command = [*prefix, sys.executable, "-m", "fodc_client", *[str(word) for word in argv]]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, **streams)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

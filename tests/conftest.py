# SPDX-License-Identifier: Apache-2.0
"""What tests of several parts need of the machine."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# How long one example takes says how busy the machine is; bounds on time are asserted where meant.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# gRPC's clients say on standard error that a server has ended, which many tests mean to see.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

_BUILT_WITHIN_S: Final = 900.0
_IN_MEMORY: Final = Path("/dev/shm")
_ROOM_BYTES: Final = 4 << 30


def _has_room(folder: Path) -> bool:
    """Whether a folder can take what all tests write, and programs that they write run there."""
    if not os.access(folder, os.W_OK):
        return False
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize >= _ROOM_BYTES and not told.f_flag & os.ST_NOEXEC


# What a proxy acknowledges is synced first: on a disk, its tests do little but wait for that.
if _has_room(_IN_MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_IN_MEMORY))


@pytest.fixture(scope="session")
def go_pprof() -> list[str]:
    """Return the command of Go's own reader of profiles; skips where there is none."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("NO GO TOOL HERE: nothing is compared with `go tool pprof`")
    return [go, "tool", "pprof"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have Go build its tool before a test's time begins: it does so at the first use."""
    go = shutil.which("go")
    if go is not None and any("go_pprof" in vars(one)["fixturenames"] for one in session.items):
        command = [go, "tool", "pprof", "-help"]
        subprocess.run(command, capture_output=True, timeout=_BUILT_WITHIN_S, check=False)

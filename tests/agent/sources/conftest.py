# SPDX-License-Identifier: Apache-2.0
"""A fake /proc and /sys/fs/cgroup in a temporary directory, and readers of samples."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fodc_agent.sources.readings import SourceReading

ROOT = Path(__file__).parents[3]

STAT = (
    "{pid} ({name}) S 1 1 1 0 -1 4194560 5000 0 12 0 2500 1500 0 0 20 0 33 0 {start} "
    "2000000000 25600 18446744073709551615 1 1 0 0 0 0 0 0 2143420159 0 0 0 17 3 0 0 0 0 0\n"
)


class FakeProc:
    """Writes what the kernel would show."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.write("stat", "cpu  1 2 3\nbtime 1700000000\n")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    def process(self, pid: int, name: str, *, start: int = 5000, argv: str = "") -> Path:
        self.write(f"{pid}/stat", STAT.format(pid=pid, name=name, start=start))
        self.write(f"{pid}/cmdline", argv or f"/{name}\0")
        return self.root / str(pid)

    def listener(self, pid: int, port: int, inode: int) -> None:
        head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid\n"
        row = (
            f"   0: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000"
            f"     0        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
        )
        self.write("net/tcp", head + row)
        descriptors = self.root / str(pid) / "fd"
        descriptors.mkdir(exist_ok=True)
        (descriptors / "7").symlink_to(f"socket:[{inode}]")


@pytest.fixture
def proc(tmp_path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def flat():
    """A function that turns a reading into {"name{label=value}": number}."""

    def read(reading: SourceReading) -> dict[str, float]:
        return {
            sample.series.name
            + "".join(f"|{name}={value}" for name, value in sample.series.labels): sample.value
            for sample in reading.samples
        }

    return read


@pytest.fixture(scope="session")
def sample_nodes() -> ModuleType:
    """The module that runs sample nodes."""
    path = ROOT / "e2e" / "node" / "running.py"
    spec = importlib.util.spec_from_file_location("fodc_sample_node_running_for_sources", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module

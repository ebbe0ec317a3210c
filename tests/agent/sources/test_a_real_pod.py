# SPDX-License-Identifier: Apache-2.0
"""Real processes in namespaces of their own, like the containers of a pod with flavor Process.

A pause process, two databases and the lifecycle tool in one process namespace; each has its own
mounts and memory cgroup, and the reader runs as the databases' user without any capability. Needs
root for the namespaces and version 1 of the memory controller; elsewhere it says why it is skipped.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fodc_agent.sources.procfs import parse_cgroup

UID = "0f8b3c9e-58a1-4d0b-9a53-1f6f7f2f1a11"
USER = "2000"
MEMORY = Path("/sys/fs/cgroup/memory")
TOOLS = ("unshare", "nsenter", "setpriv", "perl", "mount")

# What runs as "pause", "banyand" and "lifecycle": a copy of perl that holds memory and says so.
PROGRAM = "$| = 1; $x = 'a' x ({mib} << 20); print qq(held\\n); sleep 1000;\n"

# The runtime's part: join the cgroup, see only that one, name the container, drop all rights.
CONTAINER = """
set -e
echo $$ > {cgroup}/cgroup.procs
mkdir -p {folder}/view && mount -t tmpfs view {folder}/view && mkdir {folder}/view/memory
mount --bind {cgroup} {folder}/view/memory
mount --rbind {folder}/view /sys/fs/cgroup
touch {folder}/log && mount --bind {log} {folder}/log
cd {folder}
exec {command}
"""

READER = """
import asyncio, concurrent.futures.thread, json, os, sys
from fodc_agent.abilities import abilities
from fodc_agent.self_check import read_facts
from fodc_agent.sources.cgroup import CgroupSource
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.configuration import ConfigurationSource
from fodc_agent.sources.node_process import NodeProcess, Process
from fodc_agent.sources.process import ProcessSource
from fodc_agent.scraping.client import HttpClient
import encodings.idna

os.setgroups([])
os.setgid({user})
os.setuid({user})
now_s = 0.0
node = NodeProcess(container={container!r}, pod_uid={uid!r}, clock=lambda: now_s)
sources = {{"process": ProcessSource(node), "cgroup": CgroupSource(NodeCgroup(node))}}
settings = ConfigurationSource(HttpClient(), "", node)

def flat(reading):
    return {{
        "gaps": [[gap.part, gap.reason, gap.message] for gap in reading.gaps],
        "values": {{
            one.series.name + "".join("|" + value for _, value in one.series.labels): one.value
            for one in reading.samples
        }},
    }}

async def main():
    global now_s
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        now_s += 10
        told = {{name: flat(await source.collect(0)) for name, source in sources.items()}}
        found = await node.find()
        told["pid"] = found.pid if isinstance(found, Process) else 0
        told["command"] = (await settings.collect(0)).command
        facts = read_facts(node, found)
        matrix = abilities(facts, "proc")
        told["abilities"] = {{one.kind: [one.state, one.reason] for one in matrix}}
        told["shared"] = facts.shares_processes
        print(json.dumps(told), flush=True)

asyncio.run(main())
"""


def _obstacle() -> str:
    """Return why there can be no such pod here, empty when there can."""
    if os.geteuid() != 0:
        return "needs root for namespaces"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"programs are missing: {', '.join(missing)}"
    if not (MEMORY / "cgroup.procs").exists():
        return "no memory controller of version 1 is mounted"
    tried = ["unshare", "-pmf", "--mount-proc", "mount", "-t", "tmpfs", "x", "/mnt"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return f"no namespaces or mounts: {done.stderr.strip()}" if done.returncode else ""


class Pod:
    """One shared process namespace; containers are started into it from outside, like a kubelet."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.pause = self._pause()

    def _pause(self) -> int:
        program = self._program("pause", self.folder / "pause")
        command = ["unshare", "-pmf", "--mount-proc", "--kill-child=SIGKILL", str(program), "data"]
        outer = subprocess.Popen(command, cwd=program.parent, stdout=subprocess.DEVNULL)
        self.stack.callback(self._ended, outer)
        return _until(lambda: _only_child(outer.pid))

    def _program(self, name: str, folder: Path, mib: int = 1) -> Path:
        folder.mkdir(exist_ok=True)
        (folder / "data").write_text(PROGRAM.format(mib=mib))
        path = folder / name
        path.unlink(missing_ok=True)
        shutil.copy(shutil.which("perl"), path)
        return path

    def start(self, container: str, program: str, mib: int = 1) -> int:
        """Run `program data` in a container of its own; return its pid outside of the pod.

        It holds its memory and sleeps: from here on its cgroup is charged no more.
        """
        path = self._program(program, self.folder / container, mib)
        user = f"setpriv --reuid={USER} --regid={USER} --clear-groups --"
        cgroup = self._cgroup(container)
        entered = self._enter(container, cgroup, f"{user} {path} data")
        assert entered.stdout.readline() == "held\n"
        pid = _pid_named(cgroup, program)
        _until(lambda: _state(pid) == "S")
        return pid

    def reader(self, container: str) -> subprocess.Popen:
        """Run the agent's sources in a container beside, for the node of that name."""
        folder = self.folder / "fodc-agent"
        folder.mkdir(exist_ok=True)
        script = folder / "reader.py"
        script.write_text(READER.format(user=USER, container=container, uid=UID))
        command = f"{sys.executable} {script}"
        return self._enter("fodc-agent", self._cgroup("fodc-agent"), command)

    def used_bytes(self, container: str) -> int:
        """What the kernel itself says that a container's cgroup uses."""
        return int((self._cgroup(container) / "memory.usage_in_bytes").read_text())

    def _cgroup(self, container: str) -> Path:
        own = parse_cgroup(Path("/proc/self/cgroup").read_text()).controllers["memory"]
        path = MEMORY / own.lstrip("/") / f"fodc-test-{os.getpid()}-{container}"
        if not path.exists():
            path.mkdir()
            self.stack.callback(_removed, path)
        return path

    def _enter(self, container: str, cgroup: Path, command: str) -> subprocess.Popen:
        folder = self.folder / container
        log = self.folder / "pods" / UID / "containers" / container / "1c3e77aa"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        script = CONTAINER.format(cgroup=cgroup, folder=folder, log=log, command=command)
        entered = subprocess.Popen(
            ["nsenter", "-t", str(self.pause), "-p", "-m", "unshare", "-m", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.stack.callback(self._ended, entered)
        return entered

    def _ended(self, process: subprocess.Popen) -> None:
        with process:
            process.kill()


def _removed(path: Path) -> None:
    """Remove a cgroup once its last process is gone."""
    for pid in (path / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _until(lambda: _removes(path))


def _removes(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError:
        return False
    return True


def _until(condition):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen within 10 s")


def _only_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def _pid_named(cgroup: Path, name: str) -> int:
    for pid in (cgroup / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                return int(pid)
    return 0


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def ask(reader: subprocess.Popen) -> dict:
    """Let one period pass and return what was read."""
    reader.stdin.write("\n")
    reader.stdin.flush()
    line = reader.stdout.readline()
    assert line, "the reader ended"
    return json.loads(line)


@pytest.fixture
def pod(tmp_path):
    if obstacle := _obstacle():
        pytest.skip(f"NO POD OF OUR OWN: {obstacle}")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # the databases' user has to get in
    with contextlib.ExitStack() as stack:
        yield Pod(tmp_path, stack)


def test_the_named_database_is_read_among_others_and_found_again_after_its_death(pod):
    pod.start("spare", "banyand", mib=32)
    pod.start("lifecycle", "lifecycle")
    first = pod.start("data", "banyand")
    reader = pod.reader("data")

    before = pod.used_bytes("data")
    told = ask(reader)
    after = pod.used_bytes("data")

    assert told["shared"]
    assert told["command"] == ["data"]
    assert told["process"]["gaps"] == []
    assert told["abilities"]["process"] == ["Supported", ""]
    assert told["abilities"]["cgroup"] == ["Supported", ""]
    assert told["abilities"]["kernel"][0] == "Unsupported"
    assert after <= told["cgroup"]["values"]["fodc_node_memory_current_bytes"] <= before
    assert before < pod.used_bytes("spare")
    limit = pod._cgroup("data") / "memory.limit_in_bytes"
    limit.write_text(str(64 << 20))
    assert ask(reader)["cgroup"]["values"]["fodc_node_memory_limit_bytes"] == 64 << 20

    os.kill(first, signal.SIGKILL)
    _until(lambda: not Path(f"/proc/{first}").exists())
    gone = ask(reader)
    assert gone["pid"] == 0
    assert [gap[1] for gap in gone["process"]["gaps"]] == ["NoProcess"]
    assert "runs in container spare" in gone["process"]["gaps"][0][2]

    pod.start("data", "banyand")
    before = pod.used_bytes("data")
    again = ask(reader)
    after = pod.used_bytes("data")
    assert again["pid"] not in {0, told["pid"]}
    assert again["process"]["gaps"] == []
    start = "fodc_node_process_start_time_seconds"
    assert again["process"]["values"][start] >= told["process"]["values"][start]
    assert after <= again["cgroup"]["values"]["fodc_node_memory_current_bytes"] <= before


def test_without_a_named_container_two_databases_are_a_gap(pod):
    pod.start("spare", "banyand")
    pod.start("data", "banyand")

    told = ask(pod.reader(""))

    assert [gap[1] for gap in told["process"]["gaps"]] == ["AmbiguousProcess"]
    assert told["abilities"]["process"] == ["Unsupported", "AmbiguousProcess"]

# SPDX-License-Identifier: Apache-2.0
"""The backend bcc: refused where headers are not the kernel's, the same figures where it counts.

Headers of another kernel are refused for good reason, so here they may be taken for what needs none
of the kernel's structures: pread64, fadvise64 and pages come from tracepoints' own records.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fodc_agent.abilities import kernel_lacks
from fodc_agent.ktm.bcc import backend
from fodc_agent.ktm.bcc.backend import BccTelemetry, headers_problem
from fodc_agent.ktm.target import Target, TargetKind
from fodc_agent.node_captures import NoKernel, kernel_taker
from fodc_agent.sources.node_process import NodeProcess
from tests.agent.ktm.conftest import facts, need_tracefs
from tests.agent.ktm.test_reads_in_this_kernel import counted

RELEASE = os.uname().release

# The first test that needs it waits until BCC has compiled.
pytestmark = pytest.mark.timeout(240)


def headers(folder, text, name="include/config/kernel.release"):
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return folder


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        ("6.1.0-13-amd64\n", "include/config/kernel.release", ""),
        ('#define UTS_RELEASE "6.1.0-13-amd64"\n', "include/generated/utsrelease.h", ""),
        ("6.1.0-56-amd64\n", "include/config/kernel.release", "are of 6.1.0-56-amd64, and the"),
        ("", "include/config/kernel.release", "are of an unknown kernel"),
        ("6.1.0-13-amd64\n", "include/other", "there are no headers of 6.1.0-13-amd64"),
    ],
)
def test_headers_are_those_of_the_kernel_to_the_letter(tmp_path, text, name, problem):
    found = headers_problem("6.1.0-13-amd64", headers(tmp_path, text, name))

    assert found == problem if not problem else problem in found


@pytest.fixture
def permitted(telemetry):
    telemetry("sys").close()


@pytest.mark.usefixtures("permitted")
def test_headers_of_another_kernel_are_refused_and_nothing_is_started(tmp_path, monkeypatch):
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(headers(tmp_path, "5.4.0-1-amd64\n")))
    started = tmp_path / "started"
    kernel = BccTelemetry(["sys"], interpreter=str(started))

    kernel.load(facts())

    assert [(gap.part, gap.reason) for gap in kernel.gaps] == [("kernel", "NoHeaders")]
    assert f"are of 5.4.0-1-amd64, and the kernel is {RELEASE}" in kernel.gaps[0].message
    assert not kernel.is_counting


def answering(folder, text):
    """Return a program that stands in for the one with bcc."""
    path = folder / "child.py"
    path.write_text(text)
    return path


@pytest.fixture
def started(permitted, tmp_path, monkeypatch):
    """Return what starts a stand-in with groups, on a machine that has its headers."""
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(headers(tmp_path, f"{RELEASE}\n")))
    made = []

    def start(text, *groups):
        child = answering(tmp_path, text)
        made.append(BccTelemetry(groups or ["sys"], interpreter=sys.executable, child=child))
        made[-1].load(facts())
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'print(\'{"refused": "ModuleNotFoundError: bcc"}\')',
            "ModuleNotFoundError: bcc; it needs",
        ),
        ("pass", "bcc ended"),
        ("print('[]')", "does not answer in objects"),
    ],
)
def test_a_process_that_does_not_count_is_a_gap_that_says_why(started, text, words):
    kernel = started(text)

    assert not kernel.is_counting
    assert [gap.reason for gap in kernel.gaps] == ["Refused"]
    assert words in kernel.gaps[0].message


GOES_ON = "import sys\nfor _ in range(9): print('{}', flush=True); sys.stdin.readline()"


def test_groups_and_cgroups_that_it_cannot_are_gaps(started):
    kernel = started(GOES_ON, "sys", "blk")

    kernel.aim(Target(TargetKind.MEMORY, 7))
    assert {(gap.part, gap.reason) for gap in kernel.gaps} == {
        ("blk", "Unsupported"),
        ("cgroup", "Unsupported"),
    }
    kernel.aim(Target(TargetKind.UNIFIED, 7))
    assert [gap.part for gap in kernel.gaps] == ["blk"]


def test_an_answer_that_lacks_a_map_is_an_error(started):
    with pytest.raises(OSError, match="bcc tells no reads"):
        list(started(GOES_ON).samples())


def test_captures_are_not_taken_with_it():
    kernel = BccTelemetry(["sys"])

    assert isinstance(kernel_taker(kernel, NodeProcess(pid=1)), NoKernel)


# ---- for real -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def bcc(tmp_path_factory):
    """Return the environment in which BCC compiles on this machine."""
    probe = [backend.INTERPRETER, "-s", "-c", "import bcc"]
    if (
        not Path(backend.INTERPRETER).exists()
        or subprocess.run(probe, check=False, stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("NO BCC HERE: python3-bpfcc is not installed, its figures are not compared")
    if not headers_problem(RELEASE, backend.headers_of(RELEASE)):
        return {}
    source = any_headers(tmp_path_factory.mktemp("headers"))
    if source is None:
        pytest.skip(f"NO HEADERS OF ANY KERNEL HERE: bcc cannot compile for {RELEASE}")
    return {"BCC_KERNEL_SOURCE": str(source)}


def any_headers(folder):
    """Return one tree of the two that Debian makes of the headers of a kernel, None without."""
    for common in sorted(Path("/usr/src").glob("linux-headers-*-common")):
        trees = Path("/usr/src").glob(common.name.replace("-common", "-a*64"))
        if (own := next(trees, None)) is not None:
            copy = ["cp", "-rs", f"{common}/.", str(folder)]
            subprocess.run(copy, check=True)
            for part in ("include", "arch"):
                subprocess.run(["cp", "-rsf", str(own / part), str(folder)], check=True)
            return folder
    return None


@pytest.fixture(scope="module")
def by_bcc(bcc):
    """Return what counts by BCC, told that its headers are the kernel's; it compiles once."""
    if lacks := kernel_lacks(facts()):
        pytest.skip(f"THE KERNEL IS NOT ASKED: {'; '.join(lacks.values())}")
    need_tracefs()
    kernel = BccTelemetry(["sys", "mm"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bcc.items():
            patch.setenv(name, value)
        patch.setattr(backend, "headers_problem", lambda *_: "")
        patch.setattr(backend, "_START_S", 200.0)
        kernel.load(facts())
    assert kernel.gaps == ()
    yield kernel
    kernel.close()


@pytest.fixture
def both(telemetry, by_bcc):
    """Return what does some work for a target and tells what both have counted of it."""
    ours = telemetry("sys", "mm")

    def run(target, *works):
        kernels = (ours, by_bcc)
        for kernel in kernels:
            kernel.aim(target)
        before = [counted(kernel) for kernel in kernels]
        for work in works:
            work()
        after = [counted(kernel) for kernel in kernels]
        pairs = zip(before, after, strict=True)
        return tuple({name: now[name] - then[name] for name in now} for then, now in pairs)

    return run


def of_preads(found):
    """Leave out read(2): which of them are files only the kernel's own headers would tell."""
    return {name: value for name, value in found.items() if "_sys_read_" not in name}


@pytest.mark.parametrize("kind", [TargetKind.UNIFIED, TargetKind.UNIFIED_BELOW])
def test_the_same_work_has_the_same_figures_by_both(both, make_group, worker, kind):
    group = make_group("unified")
    target = Target(kind, group.stat().st_ino, level=1)

    ours, theirs = both(target, worker("reads", group).work, worker("advises", group).work)

    assert of_preads(theirs) == of_preads(ours)
    assert theirs["ktm_sys_pread_latency_seconds_count"] == 1000
    assert theirs["ktm_sys_pread_errors_total"] == 25
    assert theirs["ktm_fadvise_dontneed_total"] == 5
    reads = [theirs[f"ktm_sys_read{kind}_latency_seconds_count"] for kind in ("", "_other")]
    assert sum(reads) == 40 + 10


def test_processes_outside_of_the_target_count_nothing_by_both(both, make_group, worker):
    mine, other = make_group("unified"), make_group("unified", "fodc-test-other")

    ours, theirs = both(Target(TargetKind.UNIFIED, mine.stat().st_ino), worker("reads", other).work)

    assert set(ours.values()) == set(theirs.values()) == {0}


def test_a_process_without_a_cgroup_of_its_own_has_the_same_figures_by_both(both, worker):
    busy = worker("reads")
    namespace = Path("/proc/self/ns/pid").stat().st_ino

    ours, theirs = both(
        Target(TargetKind.PROCESS, tgid=busy.pid, pid_namespace=namespace), busy.work
    )

    assert of_preads(theirs) == of_preads(ours)
    assert theirs["ktm_sys_pread_latency_seconds_count"] == 1000


def test_the_page_cache_has_the_same_pages_by_both(both, make_group, worker, on_disk):
    group, file = make_group("unified"), on_disk(8)
    target = Target(TargetKind.UNIFIED, group.stat().st_ino)

    ours, theirs = both(target, worker("cold", group, file=file).work)

    assert of_preads(theirs) == of_preads(ours)
    assert theirs["ktm_cache_deletes_total"] == 2048


def test_the_process_with_bcc_counts_without_any_capability(by_bcc):
    status = Path(f"/proc/{by_bcc.process_id}/status").read_text()

    assert int(status.partition("CapEff:")[2].split()[0], 16) == 0
    assert "ktm_sys_pread_errors_total" in counted(by_bcc)

# SPDX-License-Identifier: Apache-2.0
"""The control plane for tests: its programs are found or built once, and nothing of it stays.

The one idea: building is tried with a compiler of our own that writes a line instead of a program.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from e2e import cluster_demo, operators, programs
from e2e.controlplane import build, marking
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.processes import ControlPlaneError, listens, start, wait_until
from e2e.controlplane.processes import free_ports as free

ROOT = Path(__file__).parents[1]
COMPILER = """#!/bin/sh
echo "$PWD $*" >> "$RECORD"
test -n "$BROKEN" && { echo "it does not compile"; exit 1; }
while [ "$1" != "-o" ]; do shift; done
echo program > "$2"
chmod 755 "$2"
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a compiler that records how it was called."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "go").write_text(COMPILER)
    (tools / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(build.ASSETS_VARIABLE, raising=False)
    monkeypatch.delenv(build.PERMISSION_VARIABLE, raising=False)
    return tmp_path


def calls(bench: Path) -> list[str]:
    record = bench / "record"
    return record.read_text().splitlines() if record.exists() else []


def test_what_is_missing_and_what_builds_it_is_said_when_building_is_not_asked_for(
    bench: Path,
) -> None:
    found = build.binaries(build=False, names=("etcd", "kubectl"))

    assert isinstance(found, build.Unavailable)
    assert found.reason == (
        f"etcd, kubectl not in {build.cache_directory()}; `make e2e` or FODC_BUILD=1 "
        "builds what is missing (about 10 minutes, needs Go)"
    )
    assert calls(bench) == []


def test_a_program_is_built_once_and_found_afterwards(bench: Path) -> None:
    first = build.binaries(build=True, names=("kubectl",))
    second = build.binaries(build=False, names=("kubectl",))

    assert first == second == build.Binaries({"kubectl": build.cache_directory() / "kubectl"})
    assert len(calls(bench)) == 1
    assert sorted(path.name for path in build.cache_directory().iterdir()) == ["kubectl", "lock"]


def test_each_program_is_built_in_its_module_with_the_version_in_it(bench: Path) -> None:
    build.binaries(build=True, names=("kubectl", "kwok"))

    kubectl, kwok = calls(bench)
    assert kubectl.startswith(f"{ROOT / 'e2e' / 'controlplane'} build -trimpath -ldflags -s -w")
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.4 " in kubectl
    assert kubectl.endswith("/kubectl k8s.io/kubernetes/cmd/kubectl")
    assert kwok.startswith(f"{ROOT / 'e2e' / 'controlplane' / 'kwok'} build ")


@pytest.mark.usefixtures("bench")
def test_what_the_compiler_says_is_the_reason_and_nothing_half_built_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BROKEN", "1")

    found = build.binaries(build=True, names=("etcd",))

    assert found == build.Unavailable("building etcd failed: it does not compile")
    assert [path.name for path in build.cache_directory().iterdir()] == ["lock"]


def test_without_a_compiler_the_reason_names_the_other_way(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(bench))

    found = build.binaries(build=True, names=("etcd",))

    assert found == build.Unavailable(
        "building etcd failed: there is no Go compiler; KUBEBUILDER_ASSETS can name a folder "
        "instead"
    )


def test_the_programs_of_a_named_folder_are_preferred_and_completed_from_the_cache(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K16: programs that a machine had were built all the same, for 39 minutes."""
    assets = bench / "assets"
    assets.mkdir()
    (assets / "etcd").touch(mode=0o755)
    monkeypatch.setenv(build.ASSETS_VARIABLE, str(assets))

    missing = build.binaries(build=False, names=("etcd", "kubectl"))
    found = build.binaries(build=True, names=("etcd", "kubectl"))

    assert isinstance(missing, build.Unavailable)
    assert missing.reason.startswith(f"kubectl not in KUBEBUILDER_ASSETS={assets} nor in ")
    assert isinstance(found, build.Binaries)
    assert found.paths["etcd"] == assets / "etcd"


@pytest.mark.usefixtures("bench")
def test_each_program_that_is_built_is_named_as_it_begins_and_as_it_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """K16: `make cluster` said nothing for minutes."""
    build.binaries(build=True, names=("etcd", "kwok"))

    assert re.sub(r"\d+ s$", "0 s", capsys.readouterr().err, flags=re.MULTILINE).splitlines() == [
        "control plane: building etcd (1 of 2) …",
        "control plane: built etcd in 0 s",
        "control plane: building kwok (2 of 2) …",
        "control plane: built kwok in 0 s",
    ]


def test_the_first_word_of_the_demo_comes_before_anything_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """K16: nothing was said until the environment was there."""
    said: list[str] = []

    def run(**_: object) -> int:
        said.append(capsys.readouterr().err)
        return 0

    monkeypatch.setattr(cluster_demo, "run", run)
    monkeypatch.setattr(cluster_demo, "heed_signals", lambda: None)
    monkeypatch.setattr(sys, "argv", ["cluster_demo", "--once"])
    monkeypatch.setenv(build.PERMISSION_VARIABLE, "")

    assert cluster_demo.main() == 0
    (first,) = said
    assert first.endswith("looking at what this machine has …\n")
    recipe = (ROOT / "Makefile").read_text().partition("$(BIN)/.ready:")[2]
    assert recipe.index("@echo") < recipe.index("-m venv")


def test_an_operator_that_ends_is_told_at_once_and_with_its_last_words(tmp_path: Path) -> None:
    """Half a minute was waited for one that had died."""
    log = tmp_path / "operator.log"
    log.write_text("KeyError: 'getpwuid(): uid not found: 65532'\n")
    process = subprocess.Popen(["false"], text=True)
    process.wait()
    operator = programs.Program("operator", process, log, {"http": "127.0.0.1:1"})

    with pytest.raises(programs.ProgramError, match="operator has ended with 1:\nKeyError: "):
        operators.wait_leads(operator, deadline_s=60)


def test_two_runs_do_not_build_the_same_program(bench: Path) -> None:
    threads = [
        threading.Thread(target=lambda: build.binaries(build=True, names=("etcd",)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(calls(bench)) == 1


# ---- processes -------------------------------------------------------------------------------


def test_free_ports_differ() -> None:
    assert len(set(free(20))) == 20


def test_a_free_port_is_for_who_is_told_it_and_for_nobody_else() -> None:
    (port,) = free(1)
    for _ in range(2):
        with socket.create_server(("127.0.0.1", port)):
            assert listens("127.0.0.1", port)
        assert not listens("127.0.0.1", port)
    with socket.socket() as other, pytest.raises(OSError, match="already in use"):
        other.bind(("127.0.0.1", port))


def test_waiting_ends_with_the_log_of_a_program_that_died(tmp_path: Path) -> None:
    child = start("failing", ["sh", "-c", "echo no such flag; exit 3"], tmp_path)

    with pytest.raises(ControlPlaneError, match=r"failing ended with status 3:\nno such flag"):
        wait_until("it works", lambda: False, deadline_s=10, children=(child,))


def test_a_child_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """A killed test run leaves no server behind."""
    script = (
        "import os, pathlib\n"
        "from e2e.controlplane.processes import start, wait_until\n"
        "child = start('sleeper', ['sleep', '600'], pathlib.Path('.'))\n"
        "print(child.process.pid, flush=True)\n"
        "name = pathlib.Path(f'/proc/{child.process.pid}/comm')\n"
        "wait_until('start', lambda: name.read_text() == 'sleep\\n', deadline_s=10)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    answer = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    pid = int(answer.stdout)

    with contextlib.suppress(ControlPlaneError):
        wait_until("its end", lambda: not is_running(pid), deadline_s=5)
    running = is_running(pid)
    if running:
        os.kill(pid, signal.SIGKILL)
    assert not running


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


# ---- the real thing --------------------------------------------------------------------------


def test_our_cluster_is_marked_as_one_for_tests(control_plane: ControlPlane) -> None:
    marking.refuse_foreign_cluster(control_plane.kubeconfig, control_plane.binaries.path("kubectl"))


def test_a_cluster_without_the_mark_is_refused_with_the_way_to_mark_it(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "MARK_NAME", "another-mark")

    with pytest.raises(marking.ForeignClusterError) as error:
        marking.refuse_foreign_cluster(
            control_plane.kubeconfig, control_plane.binaries.path("kubectl")
        )

    assert str(error.value) == (
        f"the cluster of {control_plane.kubeconfig} is not marked for tests (Error from server "
        '(NotFound): configmaps "another-mark" not found). If everything in it may be lost: '
        "kubectl --namespace kube-system create configmap another-mark"
    )


def test_a_stranger_may_nothing_and_a_wrong_token_is_nobody(control_plane: ControlPlane) -> None:
    api = control_plane.api("stranger")
    nobody = type(api)(api.url, api.ca_file, "wrong")

    assert api.get("/api/v1/pods").status == 403
    assert nobody.get("/api/v1/pods").status == 401


def test_a_restarted_api_server_has_all_that_it_had(
    control_plane: ControlPlane, namespace: str
) -> None:
    before = control_plane.children["kube-apiserver"].process.pid

    control_plane.restart_apiserver()

    assert control_plane.children["kube-apiserver"].process.pid != before
    assert control_plane.api().get(f"/api/v1/namespaces/{namespace}").status == 200


def test_the_cluster_for_people_comes_up_says_what_to_type_and_leaves_nothing(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    missing = build.binaries(build=False)
    if isinstance(missing, build.Unavailable):
        pytest.skip(f"NO CLUSTER FOR PEOPLE: {missing.reason}")
    process = subprocess.Popen(
        [sys.executable, "-m", "e2e.controlplane"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        kubeconfig = Path(
            next(line for line in lines if line.startswith("export ")).split("=")[1].strip()
        )
        kinds = subprocess.run(
            [
                control_plane.binaries.path("kubectl"),
                f"--kubeconfig={kubeconfig}",
                "api-resources",
                "--api-group=fodc.banyandb.dev",
                "--output=name",
                "--cached=false",
            ],
            check=False,
            capture_output=True,
            text=True,
            env={"HOME": str(tmp_path / "home")},
        ).stdout.split()
    finally:
        process.send_signal(signal.SIGINT)
        _, progress = process.communicate(timeout=60)

    assert kinds == [
        "diagnosticrequests.fodc.banyandb.dev",
        "fodcinjections.fodc.banyandb.dev",
        "fodcnodes.fodc.banyandb.dev",
    ]
    assert process.returncode == 0
    assert progress.splitlines()[-1].endswith("ended, nothing is left")
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []
    assert processes_below(str(tmp_path)) == []


def processes_below(folder: str) -> list[str]:
    """Command lines that mention the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if folder in text:
                found.append(text)
    return found

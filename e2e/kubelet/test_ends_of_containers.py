# SPDX-License-Identifier: Apache-2.0
"""How the database ended under a real kubelet, as the incident of its node tells it.

Issue 14: the pod is the one that goes, so what is known of the end is read after it has gone.
"""

import gzip
import io
import json
import os
import select
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from e2e import operators, programs
from e2e.kubelet import databases, site
from e2e.kubelet.databases import CONTAINER
from e2e.kubelet.node import Node
from e2e.kubelet.site import Pod, Site, grow, kill, misbehave, panic
from fodc_protocol.pprof import inspect

pytestmark = pytest.mark.timeout(600)
VISIBLE_S = 10.0
"""From the end to the incident, and to the last of what belongs to it: seconds, mostly one."""
NAMES = ("hungry", "panicking", "killed", "hanging")
CRASHES = {"name": "crash", "mountPath": "/tmp/crash", "sizeLimit": "16Mi"}


@pytest.fixture(scope="module")
def here(machine: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A namespace with databases that are ready, each with its agent."""
    with site.running_operator(tmp_path_factory.mktemp("operator"), machine) as operator:
        made = site.new_site(
            machine, operator, "restricted", flavor="Process", sharedDirectories=[CRASHES]
        )
        limits = {"hungry": "64Mi"}
        made.apply(*(databases.stateful_set(one, memory=limits.get(one, "256Mi")) for one in NAMES))
        for name in NAMES:
            made.wait_ready(f"{name}-0")
            operators.wait_for(name, lambda name=name: made.phase(f"{name}-0") == "Online", 20)
        yield made


def last_incident(here: Site, name: str, cause: str) -> dict[str, Any]:
    """What kubectl shows, once it is of this cause."""
    found = here.read("fodcnodes", name).get("status", {}).get("lastIncident", {})
    return dict(found) if found.get("cause") == cause else {}


def bundle(here: Site, incident_id: str) -> dict[str, bytes]:
    """Members of the tar, by the last part of their names."""
    with tarfile.open(fileobj=io.BytesIO(here.get(f"/incidents/{incident_id}/bundle"))) as tar:
        files = [(info.name, tar.extractfile(info)) for info in tar]
        return {name.rpartition("/")[2]: file.read() for name, file in files if file is not None}


def end_of(pod: Pod, harm: Callable[[], None], deadline_s: float = 60) -> float:
    """Do harm to the database and return when its process ended, by the monotonic clock."""
    handle = os.pidfd_open(pod.process(CONTAINER))
    try:
        harm()
        assert select.select([handle], [], [], deadline_s)[0] == [handle]
        return time.monotonic()
    finally:
        os.close(handle)


def seen_since(here: Site, name: str, cause: str, since_s: float) -> tuple[dict[str, Any], float]:
    """Wait for an incident; return what kubectl shows and how long it took."""
    seen = operators.wait_for(
        "the incident", lambda: last_incident(here, name, cause), 4 * VISIBLE_S
    )
    return seen, time.monotonic() - since_s


def shown(here: Site, incident_id: str, tmp_path: Path) -> str:
    """What `fodc incidents show` tells a person."""
    token = tmp_path / "token"
    token.write_text(programs.TOKEN)
    token.chmod(0o600)
    words = ("incidents", "show", incident_id, f"--token-file={token}")
    return programs.fodc(here.operator, *words).stdout


def times_s(window: bytes) -> list[float]:
    """Unix times of the samples in the text of a window."""
    lines = gzip.decompress(window).decode().splitlines()
    return [float(line.rpartition(" ")[2]) for line in lines if line[:1] not in ("#", "")]


def test_an_oom_kill_is_seen_in_time_and_all_of_it_outlives_the_pod(
    here: Site, tmp_path: Path
) -> None:
    """Also the heap of a node that has grown from nothing to its limit in a few seconds."""
    before = here.pod("hungry-0")
    killed_s = end_of(before, lambda: grow(before, 4))
    seen, took_s = seen_since(here, "hungry-0", "OOMKilled", killed_s)
    kept = stored(here, seen["id"], "log", "window", "heap", "goroutine")
    whole_s = time.monotonic() - killed_s
    table = here.kubectl("get", "fodcnodes", "hungry-0")
    gone(here, "hungry")
    record = json.loads(here.get(f"/incidents/{seen['id']}"))
    members = bundle(here, seen["id"])
    log = here.get(kept["log"]["download_path"]).decode()
    heap = inspect(here.get(kept["heap"]["download_path"]))
    window_s = times_s(here.get(kept["window"]["download_path"]))

    print(f"an OOM kill is an incident after {took_s:.1f} s, whole after {whole_s:.1f} s")
    assert took_s <= whole_s < VISIBLE_S
    assert "OOMKilled" in table
    assert (record["container_end"]["reason"], record["container_end"]["exit_code"]) == (
        "OOMKilled",
        137,
    )
    assert record["machine"] == before.body["spec"]["nodeName"]
    assert f"{here.namespace}/killed-0" in record["neighbours"]
    assert log.strip()
    ended_s = datetime.fromisoformat(record["container_end"]["finished_at"]).timestamp()
    assert min(window_s) < ended_s - 5
    assert heap.nonzero_samples > 0
    assert "inuse_space" in {one.kind for one in heap.value_types}
    # Another heap may have been asked for in the last moment, and not have come.
    assert datetime.fromisoformat(kept["heap"]["finished_at"]).timestamp() < ended_s + 1
    endings = {name.rpartition(".")[2] for name in members}
    assert {"log", "gz", "json"} <= endings
    assert json.loads(members["incident.json"])["incident"]["incident_id"] == seen["id"]
    assert "exit code 137 (OOMKilled)" in shown(here, seen["id"], tmp_path)


def test_a_panic_is_seen_in_time_with_the_crash_that_the_node_wrote_down(
    here: Site, tmp_path: Path
) -> None:
    before = here.pod("panicking-0")
    ended_s = end_of(before, lambda: panic(before))
    seen, took_s = seen_since(here, "panicking-0", "Crashed", ended_s)
    kept = stored(here, seen["id"], "log", "window", "crash")
    whole_s = time.monotonic() - ended_s
    gone(here, "panicking")
    record = json.loads(here.get(f"/incidents/{seen['id']}"))
    crash = json.loads(here.get(kept["crash"]["download_path"]))

    print(f"a panic is an incident after {took_s:.1f} s, whole after {whole_s:.1f} s")
    assert took_s <= whole_s < VISIBLE_S
    assert (record["container_end"]["reason"], record["container_end"]["exit_code"]) == ("Error", 2)
    assert crash["panic_record"]["panic_value"] == "the sample node was asked to panic"
    assert "panic" in here.get(kept["log"]["download_path"]).decode()
    assert times_s(here.get(kept["window"]["download_path"])) != []
    assert "exit code 2 (Error)" in shown(here, seen["id"], tmp_path)


def stored(here: Site, incident_id: str, *kinds: str) -> dict[str, Any]:
    """Artifacts of an incident by their kind, once these are among them."""
    states: list[tuple[str, str, str]] = []

    def look() -> dict[str, Any]:
        record = json.loads(here.get(f"/incidents/{incident_id}"))
        told = record["artifacts"]
        states[:] = [(one["profile"], one["state"], one["message"]) for one in told]
        held = {one["profile"]: one["artifact"] for one in record["artifacts"] if one["artifact"]}
        return held if set(kinds) <= set(held) else {}

    try:
        return operators.wait_for(f"stored: {', '.join(kinds)}", look, 2 * VISIBLE_S)
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {states}") from None


def gone(here: Site, name: str) -> None:
    """Delete a StatefulSet and wait until its pod has gone."""
    here.kubectl("delete", "statefulset", name)
    operators.wait_for(f"{name}-0 has gone", lambda: not here.pod(f"{name}-0").body, 60)


def test_a_node_that_hangs_is_seen_in_time_with_its_goroutines(here: Site) -> None:
    began_s = time.monotonic()
    misbehave(here.pod("hanging-0"), "hang", "metrics", 120)
    seen, took_s = seen_since(here, "hanging-0", "Unreachable", began_s)
    kept = stored(here, seen["id"], "goroutine", "window")
    whole_s = time.monotonic() - began_s
    gone(here, "hanging")
    goroutines = inspect(here.get(kept["goroutine"]["download_path"]))

    print(f"a hang is an incident after {took_s:.1f} s, whole after {whole_s:.1f} s")
    assert took_s <= whole_s < VISIBLE_S
    assert seen["phase"] == "Open"
    assert "goroutine" in {one.kind for one in goroutines.value_types}


def test_a_signal_is_told_as_what_it_was_and_a_second_one_is_counted(here: Site) -> None:
    for turn in (1, 2):
        pod = here.wait_pod(
            "killed-0",
            f"runs for the {turn}. time",
            lambda pod, turn=turn: (
                pod.is_running(CONTAINER)
                and pod.status(CONTAINER).get("restartCount", 0) == turn - 1
            ),
            60,
        )
        killed_s = end_of(pod, lambda pod=pod: kill(pod.process(CONTAINER)))
        if turn == 1:
            first, took_s = seen_since(here, "killed-0", "Killed", killed_s)
            stored(here, first["id"], "log", "window")
            whole_s = time.monotonic() - killed_s
    seen = operators.wait_for(
        "both of them",
        lambda: (
            found if (found := last_incident(here, "killed-0", "Killed")).get("count") == 2 else {}
        ),
        60,
    )
    kept = stored(here, seen["id"], "log", "window")
    gone(here, "killed")
    record = json.loads(here.get(f"/incidents/{seen['id']}"))

    print(f"a SIGKILL is an incident after {took_s:.1f} s, whole after {whole_s:.1f} s")
    assert took_s <= whole_s < VISIBLE_S
    assert "process_" in gzip.decompress(here.get(kept["window"]["download_path"])).decode()
    assert record["container_end"]["exit_code"] == 137
    assert "signal 9" in record["incident"]["message"]
    assert seen["phase"] == "Open"

# SPDX-License-Identifier: Apache-2.0
"""Pods of a database with the agent beside it, under a real kubelet.

Issue 5: the agent starts first and ends last, what kills one of the two leaves the other alone, and
the window of the flight recorder outlives both. All pods are made at once; each test has its own.
"""

import base64
import contextlib
import json
import os
import re
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from e2e import operators
from e2e.controlplane import installing
from e2e.kubelet import databases, site
from e2e.kubelet.databases import CONTAINER, USER
from e2e.kubelet.node import Node
from e2e.kubelet.site import AGENT, Pod, Site, eat, kill, start_ticks
from fodc_protocol import pprof
from fodc_wire.fodc.v1 import agent_link_pb2 as link

pytestmark = pytest.mark.timeout(150)
UP_TIME = "banyandb_system_up_time"
"""What the database itself tells, by its port."""
STARTED = "fodc_node_process_start_time_seconds"
"""What the kernel tells about the database's process."""
MEMORY_LIMIT = "fodc_node_memory_limit_bytes"
BPF_AND_PERFMON = 1 << 39 | 1 << 38
MIB = 1024 * 1024
TOKEN_DIRECTORY = "/run/secrets/kubernetes.io/serviceaccount"
"""Where it is mounted: in the image /var/run is a link, which would lead to the host's /run."""
FLAVOR = "fodc.banyandb.dev/flavor"
USED_FLAVOR = "fodc.banyandb.dev/used-flavor"
NOT_INJECTED = "fodc.banyandb.dev/not-injected"
NOTE = "fodc.banyandb.dev/note"
CRASHES = "/tmp/crash"
LEAST_DISK = {"captureQuota": "64Mi", "windowSize": "4Mi"}
MEMORY_LEAVES_BYTES = 48 * 1024 * 1024
"""What an agent may write here, where emptyDirs lie in memory and count against its own limit."""
EVICTION_LOOKS_S = 25
"""A kubelet looks every ten seconds what volumes hold."""


@dataclass(frozen=True, slots=True)
class Sites:
    """A namespace that Pod Security restricts, and one where it admits everything."""

    restricted: Site
    privileged: Site
    broken: Site
    """Where the policy names an image that no machine has."""
    small: Site
    """Where agents have the least disk that a policy may give."""


@pytest.fixture(scope="module")
def sites(machine: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """All pods, ready."""
    shared = {"name": "crash", "mountPath": CRASHES, "sizeLimit": "16Mi"}
    with site.running_operator(tmp_path_factory.mktemp("operator"), machine) as operator:
        restricted = site.new_site(
            machine, operator, "restricted", flavor="Process", sharedDirectories=[shared]
        )
        privileged = site.new_site(machine, operator, "privileged", flavor="EBPF")
        broken = site.new_site(
            machine,
            operator,
            "baseline",
            agent={"image": "fodc.test/missing:1", "imagePullPolicy": "Never"},
        )
        small = site.new_site(machine, operator, "restricted", agent=LEAST_DISK)
        small.apply(databases.stateful_set("full", series=20_000))
        restricted.apply(
            databases.stateful_set("proc"),
            databases.stateful_set("basic", annotations={FLAVOR: "Basic"}),
            databases.stateful_set("modest", annotations={FLAVOR: "EBPF"}),
            databases.stateful_set("brief"),
            databases.stateful_set("spared"),
            databases.stateful_set("hungry", memory="48Mi"),
        )
        privileged.apply(databases.stateful_set("ebpf"))
        for name in ("proc", "basic", "modest", "brief", "spared", "hungry"):
            restricted.wait_ready(f"{name}-0")
        privileged.wait_ready("ebpf-0")
        small.wait_ready("full-0")
        yield Sites(restricted, privileged, broken, small)


@pytest.fixture
def here(sites: Sites) -> Site:
    """The namespace of most tests."""
    return sites.restricted


def wait_online(here: Site, name: str) -> None:
    """Wait until the mirror says that a node's agent is there and whole."""
    operators.wait_for(f"{name} is Online", lambda: here.phase(name) == "Online", 20)


def wait_points(here: Site, pod: str, name: str, after_s: float = 0) -> list[tuple[float, float]]:
    """Wait until the window has a point of a series after a time; return all points."""

    def look() -> list[tuple[float, float]]:
        points = here.window(pod).of(name)
        return points if points and points[-1][0] > after_s else []

    return operators.wait_for(f"{name} of {pod} after {after_s:.0f}", look, 40)


def status_of(pid: int, key: str) -> str:
    """Return a line of /proc/<pid>/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{key}:"))


def capabilities(here: Site, name: str) -> dict[str, tuple[str, str]]:
    """Return state and reason of each capability of a FodcNode, once all are known."""

    def look() -> dict[str, tuple[str, str]]:
        every = here.read("fodcnodes", name)["status"]["capabilities"]
        found = {one["type"]: (one["state"], one.get("reason", "")) for one in every}
        return {} if ("Unknown", "NotRead") in found.values() else found

    return operators.wait_for(f"capabilities of {name}", look, 30)


# ---- it runs and is of use --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["proc-0", "basic-0"])
def test_a_database_gets_its_agent_which_registers(here: Site, name: str) -> None:
    wait_online(here, name)
    pod, node = here.pod(name), here.read("fodcnodes", name)

    assert pod.is_running(AGENT)
    assert pod.is_running(CONTAINER)
    assert node["status"]["podRef"] == {"name": name, "uid": pod.body["metadata"]["uid"]}
    assert (node["status"]["role"], node["status"]["tier"]) == ("Data", "hot")
    assert node["status"]["kubernetesNodeName"] == "node-0"
    assert {one["host"] for one in node["status"]["addresses"]} == {pod.ip}


# ---- nobody unknown ---------------------------------------------------------------------------


def answer_to(
    here: Site, pod: str, uid: str, *token: str, audience: str = "fodc-proxy"
) -> link.ProxyFrame:
    """Say hello as this pod with a token of the API server; return what the proxy answers."""
    authority = here.kubectl("get", "configmap", "fodc-proxy-ca", "-o", "jsonpath={.data.ca\\.crt}")
    made = here.kubectl("create", "token", "default", f"--audience={audience}", *token)
    metadata = (("authorization", f"Bearer {made.strip()}"),) if token else ()
    identity = link.Identity(pod_name=pod, namespace=here.namespace, pod_uid=uid)
    hello = link.Hello(protocol_min=1, protocol_max=1, identity=identity, incarnation="thief")
    hello.state.node_role = "ROLE_DATA"
    frame = link.AgentFrame(hello=hello).SerializeToString()
    credentials = grpc.ssl_channel_credentials(authority.encode())
    with grpc.secure_channel(here.operator.grpc, credentials) as channel:
        call = channel.stream_stream("/fodc.v1.AgentLink/Connect")
        answers = call(iter([frame]), metadata=metadata, timeout=20)
        return link.ProxyFrame.FromString(next(answers))


def bound_to(name: str, uid: str) -> tuple[str, ...]:
    """Return whose token the API server is to make."""
    return (
        "--bound-object-kind=Pod",
        f"--bound-object-name={name}",
        f"--bound-object-uid={uid}",
    )


def test_agents_are_let_in_by_the_tokens_of_their_pods_and_by_nothing_less(here: Site) -> None:
    for name in ("proc-0", "basic-0"):
        wait_online(here, name)
    uids = {one: here.pod(one).body["metadata"]["uid"] for one in ("proc-0", "basic-0")}
    own = bound_to("basic-0", uids["basic-0"])

    forged = answer_to(here, "proc-0", uids["proc-0"], *own)
    nobody = answer_to(here, "proc-0", uids["proc-0"])
    elsewhere = answer_to(here, "basic-0", uids["basic-0"], *own, audience="somebody-else")

    assert forged.refusal.reason == "Forbidden"
    assert forged.refusal.message == (
        f"the token is of pod {here.namespace}/basic-0 {uids['basic-0']}: its pod name is "
        "'basic-0', not 'proc-0'"
    )
    assert nobody.refusal.message.startswith("no token and no client certificate was shown")
    assert elsewhere.refusal.reason == "Unauthenticated"
    page = here.get("/metrics").decode()
    assert re.search(r'fodc_proxy_agents_by_proof\{proof="PodToken"\} [1-9]', page)
    assert 'proof="None"' not in page
    assert 'fodc_proxy_agents_refused_total{reason="OtherAgent"} 1.0' in page


def test_the_policy_says_that_every_pod_has_its_agent(here: Site) -> None:
    def told() -> dict[str, Any]:
        status = here.read("fodcinjections", site.POLICY).get("status", {})
        return status if status.get("upToDate", 0) == 6 else {}

    status = operators.wait_for("six agents that are up to date", told, 30)
    assert {key: status[key] for key in ("matched", "injected", "missing", "failed")} == {
        "matched": 6,
        "injected": 6,
        "missing": 0,
        "failed": 0,
    }
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    assert conditions["AgentsStart"] == conditions["Ready"] == "True"


def test_the_database_is_as_it_was_but_for_the_shared_directory(here: Site) -> None:
    pod = here.pod("proc-0")
    told = json.loads(here.kubectl("get", "statefulset/proc", "--output=json"))
    before = told["spec"]["template"]["spec"]["containers"][0]
    (after,) = pod.body["spec"]["containers"]
    added = {one["name"]: one.get("value") for one in after["env"] if one not in before["env"]}

    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert changed == {"env", "volumeMounts"}
    assert added == {
        "BYDB_PANIC_DIAGNOSTICS_ENABLED": "true",
        "BYDB_PANIC_DIAGNOSTICS_DIR": CRASHES,
    }
    for container in (AGENT, CONTAINER):
        mounts = Path(f"/proc/{pod.process(container)}/mountinfo").read_text().splitlines()
        assert CRASHES in [line.split()[4] for line in mounts]


def test_a_cpu_profile_asked_for_by_kubectl_arrives(here: Site) -> None:
    names = ["proc-0", "basic-0"]
    for name in names:
        wait_online(here, name)
    captures = [{"type": "CPUProfile", "durationSeconds": 3}]
    spec = {"target": {"names": names}, "captures": captures, "purpose": "a test"}
    here.apply(installing.resource("DiagnosticRequest", "cpu", spec=spec))
    here.kubectl("wait", "--for=condition=Succeeded", "--timeout=40s", "diagnosticrequest/cpu")

    targets = here.read("diagnosticrequests", "cpu")["status"]["targets"]
    results = {target["nodeName"]: target["results"][0] for target in targets}
    assert sorted(results) == sorted(names)
    for result in results.values():
        profile = here.get(result["downloadPath"])
        assert pprof.inspect(profile).samples == result["samples"] > 0


def test_the_agent_starts_before_the_database_and_ends_after_it(here: Site) -> None:
    pod = here.pod("brief-0")
    agent, database = pod.process(AGENT), pod.process(CONTAINER)
    began = (start_ticks(agent), start_ticks(database))
    names = {os.pidfd_open(agent): "agent", os.pidfd_open(database): "database"}
    with select.epoll() as ends:
        for handle in names:
            ends.register(handle, select.EPOLLIN | select.EPOLLONESHOT)
        here.kubectl("scale", "statefulset/brief", "--replicas=0")
        # The kernel hands them out one by one in the order of their ends, however late we ask.
        ended = [names[ends.poll(30, maxevents=1)[0][0]] for _ in names]
    for handle in names:
        os.close(handle)

    assert began[0] < began[1]
    assert ended == ["database", "agent"]


# ---- one of the two is killed -----------------------------------------------------------------


def test_a_killed_agent_leaves_the_database_alone_and_keeps_its_window(here: Site) -> None:
    name = "spared-0"
    wait_online(here, name)
    before = here.pod(name)
    wait_points(here, name, UP_TIME)
    killed_s = time.time()
    kill(before.process(AGENT))
    after = here.wait_pod(
        name,
        "has a new agent",
        lambda pod: pod.is_running(AGENT) and pod.status(AGENT)["restartCount"] == 1,
    )

    assert after.status(CONTAINER)["containerID"] == before.status(CONTAINER)["containerID"]
    assert after.status(CONTAINER)["restartCount"] == 0
    assert after.status(AGENT)["lastState"]["terminated"]["exitCode"] == 137
    points = wait_points(here, name, UP_TIME, killed_s)
    assert points[0][0] < killed_s < points[-1][0]


def test_an_agent_outlives_the_database_that_exceeds_its_memory(here: Site) -> None:
    """T6: how the container ended was read before the kubelet had told it."""
    name = "hungry-0"
    wait_online(here, name)
    before = here.pod(name)
    first = wait_points(here, name, STARTED)
    wait_points(here, name, UP_TIME)
    killed_s = time.time()
    eat(before)
    # What ended the old container may be told after the new one is ready.
    after = here.wait_pod(
        name, "is back", lambda pod: was_restarted(pod) and was_ended(pod) and pod.is_ready
    )

    last = after.status(CONTAINER)["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)
    assert after.status(AGENT)["containerID"] == before.status(AGENT)["containerID"]
    assert after.status(AGENT)["restartCount"] == 0
    # What it knew before it still knows, and it has found the new process and its new cgroup.
    assert wait_points(here, name, UP_TIME, killed_s + 1)[0][0] < killed_s
    points = wait_points(here, name, STARTED, killed_s + 1)
    started = [value for _, value in points]
    assert started[0] == first[0][1]
    assert started[-1] > started[0] + 1
    assert started[-1] == pytest.approx(started_s(after), abs=1.5)
    limits = wait_points(here, name, MEMORY_LIMIT, killed_s + 1)
    assert limits[-1][1] == 48 * MIB
    # The proxy hears of it with a heartbeat.
    supported = ("Supported", "")
    operators.wait_for("the cgroup", lambda: capabilities(here, name)["cgroup"] == supported, 30)


def was_restarted(pod: Pod) -> bool:
    return bool(pod.status(CONTAINER).get("restartCount", 0) >= 1)


def was_ended(pod: Pod) -> bool:
    return "terminated" in pod.status(CONTAINER).get("lastState", {})


def started_s(pod: Pod) -> float:
    """Return the Unix time at which the database's process started, by the host's clocks."""
    ticks = start_ticks(pod.process(CONTAINER))
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def test_an_agent_that_cannot_start_holds_up_the_first_pod_only(sites: Sites) -> None:
    here = sites.broken
    # Made here and not with the others: the operator does not leave it waiting for long.
    here.apply(databases.stateful_set("first"))
    blocked = here.wait_pod("first-0", "waits for its agent", is_blocked, 40)

    def suspended() -> bool:
        status = here.read("fodcinjections", site.POLICY).get("status", {})
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        return conditions.get("AgentsStart") == "False"

    operators.wait_for("the policy is suspended", suspended, 60)
    operators.wait_for(
        "the webhook knows",
        lambda: here.trial().annotation(NOT_INJECTED).startswith("Suspended: "),
    )
    here.apply(databases.stateful_set("second"))
    # The operator may have deleted it by itself.
    here.kubectl("delete", "pod/first-0", "--wait=false", "--ignore-not-found")

    second = here.wait_ready("second-0")
    assert second.status(AGENT) == {}
    assert second.annotation(NOT_INJECTED).startswith("Suspended: ")
    first = here.wait_pod(
        "first-0",
        "is back and ready",
        lambda pod: pod.body["metadata"]["uid"] != blocked.body["metadata"]["uid"] and pod.is_ready,
    )
    assert first.status(AGENT) == {}


def test_an_agent_whose_node_fills_its_disk_stays_below_the_limits_of_volume_and_memory(
    sites: Sites,
) -> None:
    """K22: beyond the limit of an emptyDir the kubelet evicts the pod, and the database with it.

    And beyond that of memory, where files count as well, the kernel ends the agent.
    """
    here, limit = sites.small, {"emptyDir": {"sizeLimit": "85Mi"}}
    before = here.pod("full-0")
    # Its window has not room for all of these series, which makes it Degraded.
    living = {"Online", "Degraded"}
    operators.wait_for("it is there", lambda: here.phase("full-0") in living, 60)
    data = Path("/proc", str(before.process(AGENT)), "root", "var/lib/fodc")
    for where in ("metrics", "pprof"):
        site.misbehave(before, "huge", where, 60)
    captures = [{"type": kind} for kind in ("HeapSnapshot", "GoroutineDump", "AllocationProfile")]
    spec = {"target": {"all": True}, "captures": captures}
    here.apply(installing.resource("DiagnosticRequest", "huge", spec=spec))
    most_bytes, ends_s = 0, time.monotonic() + EVICTION_LOOKS_S
    while time.monotonic() < ends_s or not has_finished(here, "huge"):
        most_bytes = max(most_bytes, held_bytes(data))
        time.sleep(0.05)

    after = here.wait_ready("full-0")
    (volume,) = [v for v in after.body["spec"]["volumes"] if v["name"] == "fodc-agent-data"]
    assert {"emptyDir": volume["emptyDir"]} == limit
    assert 4 * MIB < most_bytes < MEMORY_LEAVES_BYTES
    assert after.body["metadata"]["uid"] == before.body["metadata"]["uid"]
    assert after.status(CONTAINER) == before.status(CONTAINER)
    assert after.status(AGENT)["containerID"] == before.status(AGENT)["containerID"]


def has_finished(here: Site, request: str) -> bool:
    status = here.read("diagnosticrequests", request).get("status", {})
    return any(
        (one["type"], one["status"]) == ("Finished", "True") for one in status.get("conditions", [])
    )


def held_bytes(folder: Path) -> int:
    """What the files of a folder hold on the disk; they come and go while it is asked."""
    held = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                held += (Path(place) / name).lstat().st_blocks * 512
    return held


def is_blocked(pod: Pod) -> bool:
    reason = pod.status(AGENT).get("state", {}).get("waiting", {}).get("reason")
    return bool(reason == "ErrImageNeverPull")


# ---- how much the agent sees and may ----------------------------------------------------------


def test_the_flavor_proc_sees_the_process_and_its_cgroup_as_the_databases_user(
    here: Site,
) -> None:
    pod = here.pod("proc-0")
    agent = pod.process(AGENT)

    points = wait_points(here, "proc-0", STARTED)
    assert points[-1][1] == pytest.approx(started_s(pod), abs=1.5)
    # The database's, not that of the agent's own container.
    assert wait_points(here, "proc-0", MEMORY_LIMIT)[-1][1] == 256 * MIB
    found = capabilities(here, "proc-0")
    assert (found["process"], found["cgroup"]) == (("Supported", ""), ("Supported", ""))
    assert status_of(agent, "Uid").split() == [str(USER)] * 4
    assert status_of(agent, "Gid").split() == [str(USER)] * 4
    assert int(status_of(agent, "CapEff"), 16) == 0
    assert status_of(agent, "Seccomp") == "2"
    assert status_of(agent, "NoNewPrivs") == "1"


def test_the_flavor_basic_names_what_it_does_not_see(here: Site) -> None:
    wait_points(here, "basic-0", UP_TIME)
    found = capabilities(here, "basic-0")

    assert found["CPUProfile"] == ("Supported", "")
    assert found["process"] == ("Unsupported", "FlavorBasic")
    assert found["cgroup"] == ("Unsupported", "FlavorBasic")
    assert found["kernel"] == ("Unsupported", "FlavorBasic")
    assert here.window("basic-0").of(STARTED) == []


def test_a_flavor_that_the_namespace_does_not_admit_becomes_the_best_that_it_does(
    here: Site,
) -> None:
    pod = here.pod("modest-0")

    assert pod.annotation(USED_FLAVOR) == "Process"
    assert "EBPF" in pod.annotation(NOTE)
    assert int(status_of(pod.process(AGENT), "CapEff"), 16) == 0


def test_the_flavor_ebpf_has_two_capabilities_until_the_kernel_counts(sites: Sites) -> None:
    here = sites.privileged
    pod = here.pod("ebpf-0")
    agent = pod.process(AGENT)
    wait_online(here, "ebpf-0")

    assert status_of(agent, "Uid").split() == ["0"] * 4
    assert int(status_of(agent, "CapBnd"), 16) == BPF_AND_PERFMON
    operators.wait_for(
        "the kernel counts",
        lambda: capabilities(here, "ebpf-0")["kernel"] == ("Supported", ""),
        30,
    )
    # What only loading needs is given up when it is done.
    for kind in ("CapPrm", "CapEff", "CapAmb", "CapInh"):
        assert int(status_of(agent, kind), 16) == 0
    assert status_of(agent, "Seccomp") == "2"
    assert status_of(agent, "NoNewPrivs") == "1"
    # Of another user's process it sees what everybody may: the rest needs
    # SYS_PTRACE, which the policy has to ask for.
    limits = wait_points(here, "ebpf-0", MEMORY_LIMIT)
    assert limits[-1][1] == 256 * MIB
    assert wait_points(here, "ebpf-0", STARTED)[-1][1] == pytest.approx(started_s(pod), abs=1.5)
    operators.wait_for(
        "the parts that are missing are named",
        lambda: capabilities(here, "ebpf-0")["process"] == ("Unsupported", "PermissionDenied"),
        20,
    )
    found = capabilities(here, "ebpf-0")
    assert found["cgroup"] == ("Supported", "")


def test_the_agent_has_a_token_for_the_proxy_and_none_for_the_api_server(here: Site) -> None:
    pod = here.pod("proc-0")
    process = Path(f"/proc/{pod.process(AGENT)}")
    token = (process / f"root{TOKEN_DIRECTORY}" / "token").read_text()
    claims = claims_of(token)
    mounts = [line.split()[4] for line in (process / "mountinfo").read_text().splitlines()]
    as_agent = replace(here.plane.api(), token=token)

    assert claims["aud"] == ["fodc-proxy"]
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["kubernetes.io"]["namespace"] == here.namespace
    assert claims["kubernetes.io"]["pod"] == {
        "name": "proc-0",
        "uid": pod.body["metadata"]["uid"],
    }
    assert [path for path in mounts if "/secrets" in path] == [TOKEN_DIRECTORY]
    assert as_agent.get("/api/v1/pods").status == 401


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))

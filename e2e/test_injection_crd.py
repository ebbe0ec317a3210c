# SPDX-License-Identifier: Apache-2.0
"""FodcInjections on a real API server: what is accepted, what is refused and in which words.

The one idea: what would make the server refuse an injected pod, or its containers never start, is
refused in the policy, where it costs nobody a database.
"""

from typing import Any

import pytest
import yaml

from e2e.controlplane.api import Answer, Api
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import READ_BACK, collection, resource

SELECTOR = {"matchLabels": {"app.kubernetes.io/name": "banyandb"}}
BYTES = "must be a whole number of bytes from {} to {}, such as {}"
OF_THE_RULE = (
    'Invalid value: "object": ',
    'Invalid value: "array": ',
    'Invalid value: "string": ',
    'Invalid value: "": ',
)
NOT_CHECKED = "some validation rules were not checked"


class Injections:
    """FodcInjections of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.path = collection(namespace, "fodcinjections")
        self._made = 0

    def create(self, name: str = "", **spec: Any) -> Answer:
        """Create one that selects BanyanDB's pods unless the test says otherwise."""
        self._made += 1
        whole = {"podSelector": SELECTOR, **spec}
        body = resource("FodcInjection", name or f"i-{self._made}", spec=whole)
        return self.api.create(self.path, body)

    def write_status(self, name: str, status: object) -> Answer:
        """Merge into the status of one."""
        return self.api.merge(f"{self.path}/{name}/status", {"status": status})


@pytest.fixture
def injections(control_plane: ControlPlane, namespace: str) -> Injections:
    return Injections(control_plane.api(), namespace)


def refusal(answer: Answer) -> list[tuple[str, str]]:
    """Field and words of a refusal, without what the server puts before the words of a rule."""
    assert answer.status == 422, answer.body
    found = []
    for field, message in answer.causes:
        words = message
        for start in OF_THE_RULE:
            words = words.removeprefix(start)
        if NOT_CHECKED not in words:
            found.append((field, words))
    return found


# ---- accepted --------------------------------------------------------------------------------


def test_the_shortest_injection_gets_its_defaults(injections: Injections) -> None:
    assert injections.create().body["spec"] == {
        "podSelector": SELECTOR,
        "agent": {
            "resources": {
                "requests": {"cpu": "20m", "memory": "48Mi"},
                "limits": {"cpu": "500m", "memory": "96Mi"},
            },
            "captureQuota": "256Mi",
            "windowSize": "32Mi",
            "logLevel": "Info",
        },
        "mode": "Auto",
        "flavor": "Basic",
        "ptrace": False,
        "takeOver": False,
        "onError": "Admit",
        "paused": False,
        "onAgentFailure": "Release",
        "attachRemotely": False,
    }


def test_a_shared_directory_gets_its_limit(injections: Injections) -> None:
    made = injections.create(sharedDirectories=[{"name": "crash", "mountPath": "/tmp/crash"}])

    assert made.body["spec"]["sharedDirectories"] == [
        {"name": "crash", "mountPath": "/tmp/crash", "sizeLimit": "256Mi"}
    ]


def directory(path: str, name: str = "crash", **more: str) -> dict[str, Any]:
    return {"sharedDirectories": [{"name": name, "mountPath": path, **more}]}


def agent(**content: Any) -> dict[str, Any]:
    return {"agent": content}


def resources(kind: str, **content: str | int) -> dict[str, Any]:
    return agent(resources={kind: content})


DIGEST = "sha256:" + "0a" * 32
ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("expressions", {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}),
    ("ptrace with ebpf", {"flavor": "EBPF", "ptrace": True}),
    ("short image", agent(image="fodc-agent")),
    ("image of a port", agent(image="localhost:5000/fodc/agent:0.1.0")),
    ("image by digest", agent(image=f"ghcr.io/a/b-c_d/agent:1@{DIGEST}")),
    ("address by name", agent(proxyAddress="fodc-proxy-grpc.fodc-system.svc:17912")),
    ("address of version 6", agent(proxyAddress="[fd00::1]:17912")),
    ("parts of a processor", resources("requests", cpu="0.25", memory="64Mi")),
    ("bytes as a number", agent(captureQuota="268435456", windowSize="64M")),
    ("requests above limits", resources("requests", cpu="1", memory="256Mi")),
    ("most resources", resources("limits", cpu="4", memory="4Gi")),
    ("whole numbers", resources("limits", cpu=1, memory=134217728)),
    ("a dot in a path", directory("/tmp/.crash-1/a_b")),
    ("beside what is ours", directory("/var/lib/fodc-crash")),
    (
        "four directories",
        {"sharedDirectories": [{"name": f"d{at}", "mountPath": f"/d/{at}"} for at in range(4)]},
    ),
    ("wait", {"onAgentFailure": "Wait"}),
    ("pull with", {"agent": {"imagePullSecrets": [{"name": "registry"}]}}),
    ("last port", {"pprofPort": 65535}),
    ("all of one cluster", {"cluster": "Shop_1.eu"}),
]


@pytest.mark.parametrize("spec", [spec for _, spec in ACCEPTED], ids=[name for name, _ in ACCEPTED])
def test_a_sensible_injection_is_accepted(injections: Injections, spec: dict[str, Any]) -> None:
    answer = injections.create(**spec)

    assert (answer.status, answer.body.get("message")) == (201, None)


# ---- refused ---------------------------------------------------------------------------------

EMPTY = (
    "an empty selector would match every pod of the namespace; give matchLabels or matchExpressions"
)
IMAGE = "must be a reference of an image, such as registry.example.com/banyandb-fodc-agent:0.1.0"
ADDRESS = "must be host:port, such as fodc-proxy-grpc.fodc-system.svc:17912"
PATH = (
    "must be an absolute path of letters, digits, '-', '_' and '.', without '.' or '..' as a part "
    "and without '/' at the end"
)
OURS = "must not be at or below /var/lib/fodc, /opt/fodc, /var/run, /run, /proc, /sys or /dev"
NEEDED = "must not be a directory that a container needs for itself; give one below it"
MOUNT = "spec.sharedDirectories[0].mountPath"
LABEL_VALUE = (
    "must be a value of a label: letters, digits, '-', '_' and '.', a letter or digit at both ends"
)
IN_BODY = "Invalid value: {}: {} in body should be {} than or equal to {}"
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("empty selector", {"podSelector": {}}, "spec.podSelector", EMPTY),
    (
        "empty lists of a selector",
        {"podSelector": {"matchLabels": {}, "matchExpressions": []}},
        "spec.podSelector",
        EMPTY,
    ),
    (
        "In without values",
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "spec.podSelector.matchExpressions[0].values",
        "In and NotIn need values, Exists and DoesNotExist take none",
    ),
    (
        "a key that no label has",
        {"podSelector": {"matchLabels": {"a b": "c"}}},
        "spec.podSelector.matchLabels",
        "every key must be the key of a label, such as app.kubernetes.io/name",
    ),
    (
        "a value that no label has",
        {"podSelector": {"matchLabels": {"a": "b c"}}},
        "spec.podSelector.matchLabels[a]",
        LABEL_VALUE,
    ),
    (
        "cluster with a space",
        {"cluster": "my cluster"},
        "spec.cluster",
        LABEL_VALUE,
    ),
    ("ptrace alone", {"ptrace": True}, "spec.ptrace", "only with flavor EBPF, not with Basic"),
    (
        "ptrace with proc",
        {"flavor": "Process", "ptrace": True},
        "spec.ptrace",
        "only with flavor EBPF, not with Process",
    ),
    (
        "flavor in small letters",
        {"flavor": "process"},
        "spec.flavor",
        'Unsupported value: "process": supported values: "Basic", "Process", "EBPF"',
    ),
    (
        "mode in small letters",
        {"mode": "auto"},
        "spec.mode",
        'Unsupported value: "auto": supported values: "Auto", "NativeSidecar", "Container"',
    ),
    ("image with a space", agent(image="agent :1"), "spec.agent.image", IMAGE),
    ("image with capitals", agent(image="example.com/Agent:1"), "spec.agent.image", IMAGE),
    ("image as a URL", agent(image="https://example.com/a:1"), "spec.agent.image", IMAGE),
    ("address without port", agent(proxyAddress="proxy"), "spec.agent.proxyAddress", ADDRESS),
    ("address as a URL", agent(proxyAddress="http://a:1"), "spec.agent.proxyAddress", ADDRESS),
    ("port too high", agent(proxyAddress="proxy:70000"), "spec.agent.proxyAddress", ADDRESS),
    (
        "a Secret by path",
        agent(tlsSecretName="other/tls"),
        "spec.agent.tlsSecretName",
        "must be the name of a Secret",
    ),
    (
        "a Secret to pull with by path",
        agent(imagePullSecrets=[{"name": "other/registry"}]),
        "spec.agent.imagePullSecrets[0].name",
        "must be the name of a Secret",
    ),
    (
        "a flag for a processor",
        resources("limits", cpu=True),
        "spec.agent.resources.limits.cpu",
        (
            'Invalid value: "boolean": spec.agent.resources.limits.cpu in body must be of type '
            'integer,string: "boolean"'
        ),
    ),
    (
        "no memory",
        resources("limits", memory="32Mi"),
        "spec.agent.resources.limits.memory",
        BYTES.format("48Mi", "4Gi", "96Mi"),
    ),
    (
        "milli bytes",
        resources("requests", memory="128m"),
        "spec.agent.resources.requests.memory",
        BYTES.format("16Mi", "4Gi", "48Mi"),
    ),
    (
        "memory in words",
        resources("limits", memory="100 MB"),
        "spec.agent.resources.limits.memory",
        BYTES.format("48Mi", "4Gi", "96Mi"),
    ),
    (
        "a processor too fine",
        resources("requests", cpu="0.0001"),
        "spec.agent.resources.requests.cpu",
        'must be 1m to 4, such as 20m or "0.5"',
    ),
    (
        "too many processors",
        resources("limits", cpu="5"),
        "spec.agent.resources.limits.cpu",
        'must be 20m to 4, such as 500m or "1"',
    ),
    (
        "quota below one capture",
        agent(captureQuota="63Mi"),
        "spec.agent.captureQuota",
        BYTES.format("64Mi", "16Gi", "256Mi"),
    ),
    (
        "window beyond all bounds",
        agent(windowSize="2Gi"),
        "spec.agent.windowSize",
        BYTES.format("4Mi", "1Gi", "32Mi"),
    ),
    (
        "loud",
        agent(logLevel="trace"),
        "spec.agent.logLevel",
        'Unsupported value: "trace": supported values: "Debug", "Info", "Warning", "Error"',
    ),
    (
        "container with capitals",
        {"databaseContainer": "Data"},
        "spec.databaseContainer",
        "must be the name of a container: a-z, 0-9 and '-'",
    ),
    (
        "the agent as the database",
        {"databaseContainer": "fodc-agent"},
        "spec.databaseContainer",
        "is the name of the agent's own container",
    ),
    ("relative path", directory("tmp/crash"), MOUNT, PATH),
    ("path upwards", directory("/tmp/../etc"), MOUNT, PATH),
    ("path with a dot", directory("/tmp/./crash"), MOUNT, PATH),
    ("path with an end", directory("/tmp/crash/"), MOUNT, PATH),
    ("path with a variable", directory("/tmp/$(POD_NAME)"), MOUNT, PATH),
    ("path with a colon", directory("/tmp:ro"), MOUNT, PATH),
    ("the agent's own path", directory("/var/lib/fodc"), MOUNT, OURS),
    ("the path of the token", directory("/var/run/secrets/kubernetes.io"), MOUNT, OURS),
    ("the path of sockets", directory("/run/x"), MOUNT, OURS),
    ("the path of the injected agent", directory("/opt/fodc"), MOUNT, OURS),
    ("the configuration of the system", directory("/etc"), MOUNT, NEEDED),
    ("all temporary files", directory("/tmp"), MOUNT, NEEDED),
    ("the kernel's path", directory("/proc/self"), MOUNT, OURS),
    (
        "no space",
        directory("/tmp/crash", sizeLimit="0"),
        "spec.sharedDirectories[0].sizeLimit",
        BYTES.format("1Mi", "16Gi", "256Mi"),
    ),
    (
        "one path for two",
        {"sharedDirectories": [{"name": n, "mountPath": "/tmp/crash"} for n in ("a", "b")]},
        "spec.sharedDirectories",
        "each mountPath can be there only once",
    ),
    (
        "one name for two",
        {"sharedDirectories": [{"name": "a", "mountPath": f"/tmp/{n}"} for n in ("a", "b")]},
        "spec.sharedDirectories[1]",
        'Duplicate value: {"name":"a"}',
    ),
    (
        "five directories",
        {"sharedDirectories": [{"name": f"d{n}", "mountPath": f"/d/{n}"} for n in range(5)]},
        "spec.sharedDirectories",
        "Too many: 5: must have at most 4 items",
    ),
    (
        "no port",
        {"pprofPort": 0},
        "spec.pprofPort",
        IN_BODY.format(0, "spec.pprofPort", "greater", 1),
    ),
    (
        "another answer to errors",
        {"onError": "Fail"},
        "spec.onError",
        'Unsupported value: "Fail": supported values: "Admit", "Deny"',
    ),
]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_a_wrong_injection_is_refused_with_field_and_advice(
    injections: Injections, spec: dict[str, Any], field: str, message: str
) -> None:
    assert refusal(injections.create(**spec)) == [(field, message)]


def test_an_injection_without_a_selector_is_refused(
    control_plane: ControlPlane, namespace: str
) -> None:
    where = collection(namespace, "fodcinjections")

    answer = control_plane.api().create(where, resource("FodcInjection", "a", spec={}))

    assert refusal(answer) == [("spec.podSelector", "Required value")]


def test_an_injection_whose_name_is_no_value_of_a_label_is_refused(injections: Injections) -> None:
    assert refusal(injections.create(name="x" * 64)) == [
        ("<nil>", "metadata.name must be at most 63 characters: pods carry it as a label")
    ]


def test_what_a_person_reads_at_the_prompt(control_plane: ControlPlane, namespace: str) -> None:
    spec = {"podSelector": {}, "ptrace": True, **directory("tmp")}
    document = yaml.safe_dump(resource("FodcInjection", "wrong", spec=spec))

    answer = control_plane.kubectl("apply", f"--namespace={namespace}", "-f", "-", stdin=document)

    head, *causes = answer.stderr.splitlines()
    assert head == 'The FodcInjection "wrong" is invalid: '
    assert sorted(causes) == [
        f'* spec.podSelector: Invalid value: "object": {EMPTY}',
        '* spec.ptrace: Invalid value: "object": only with flavor EBPF, not with Basic',
        f'* {MOUNT}: Invalid value: "string": {PATH}',
    ]


# ---- changes, status, reading ----------------------------------------------------------------


def test_everything_can_change_later(injections: Injections) -> None:
    injections.create(name="one")
    patch = {"spec": {"paused": True, "flavor": "Process", "agent": {"image": "agent:2"}}}

    answer = injections.api.merge(f"{injections.path}/one", patch)

    assert (answer.status, answer.body["metadata"]["generation"]) == (200, 2)
    assert answer.body["spec"]["agent"]["image"] == "agent:2"
    assert answer.body["spec"]["agent"]["captureQuota"] == "256Mi"


def test_the_status_is_written_apart_and_the_generation_stays(injections: Injections) -> None:
    injections.create(name="one")
    status = {"observedGeneration": 1, "matched": 3}

    written = injections.write_status("one", status)

    assert (written.status, written.body["status"]) == (200, status)
    assert written.body["metadata"]["generation"] == 1


def test_the_largest_status_is_accepted_and_a_larger_one_is_not(injections: Injections) -> None:
    injections.create(name="large")
    pods = [
        {
            "name": f"{at:03}".rjust(253, "x"),
            "state": "OutOfDate",
            "reason": "r" * 128,
            "message": "m" * 256,
        }
        for at in range(21)
    ]

    largest = injections.write_status("large", {"pods": pods[:20]})
    larger = injections.write_status("large", {"pods": pods})

    assert largest.status == 200
    assert refusal(larger) == [("status.pods", "Too many: 21: must have at most 20 items")]


def test_the_state_of_a_pod_is_one_that_people_know(injections: Injections) -> None:
    injections.create(name="one")

    answer = injections.write_status("one", {"pods": [{"name": "a", "state": "Lost"}]})

    assert refusal(answer) == [
        (
            "status.pods[0].state",
            (
                'Unsupported value: "Lost": supported values: "Injected", "OutOfDate", "Missing", '
                '"Failed", "Skipped", "Remote"'
            ),
        )
    ]


def test_injections_are_found_by_cluster_and_flavor_and_nothing_else(
    injections: Injections,
) -> None:
    injections.create(name="a", cluster="shop", flavor="EBPF")
    injections.create(name="b", cluster="shop")
    injections.create(name="c")

    def found(selector: str) -> list[str]:
        items = injections.api.get(f"{injections.path}?fieldSelector={selector}").body["items"]
        return [item["metadata"]["name"] for item in items]

    other = injections.api.get(f"{injections.path}?fieldSelector=spec.paused=true")

    assert found("spec.cluster=shop") == ["a", "b"]
    assert found("spec.cluster=shop,spec.flavor=EBPF") == ["a"]
    assert (other.status, other.message) == (400, "field label not supported: spec.paused")


def test_waiting_until_all_pods_are_injected_works(
    injections: Injections, control_plane: ControlPlane
) -> None:
    injections.create(name="one")
    condition = {
        "type": "AllInjected",
        "status": "True",
        "lastTransitionTime": "2026-11-21T09:00:00Z",
        "reason": "AllInjected",
        "message": "3 of 3 pods have an agent",
    }
    assert injections.write_status("one", {"conditions": [condition]}).status == 200
    namespace = injections.path.split("/")[-2]

    answer = control_plane.kubectl(
        *("wait", f"--namespace={namespace}", "--for=condition=AllInjected", "--timeout=5s"),
        "fodcinj/one",
    )

    assert (answer.returncode, answer.stdout) == (
        0,
        "fodcinjection.fodc.banyandb.dev/one condition met\n",
    )


def rows(plane: ControlPlane, namespace: str, *what: str) -> list[list[str]]:
    """What kubectl prints, cut into words."""
    text = plane.kubectl("get", f"--namespace={namespace}", *what, check=True).stdout
    return [line.split() for line in text.splitlines() if line]


def test_the_table_shows_what_people_look_for(
    injections: Injections, control_plane: ControlPlane
) -> None:
    example = yaml.safe_load((READ_BACK / "fodcinjection.yaml").read_text())
    assert injections.api.create(injections.path, example).status == 201
    injections.write_status("banyandb-takeover", example["status"])
    namespace = injections.path.split("/")[-2]

    head, row = rows(control_plane, namespace, "fodcinj")
    wide_head, wide = rows(control_plane, namespace, "fodcinj", "-owide")

    assert " ".join(head) == (
        "NAME CLUSTER FLAVOR MATCHED INJECTED UP-TO-DATE MISSING READY WHY PAUSED AGE"
    )
    assert " ".join(row[:-1]) == (
        "banyandb-takeover banyandb Basic 4 2 2 2 True OlderThanPolicy false"
    )
    assert " ".join(wide_head[-2:]) == "FAILED AGE"
    assert wide[-2] == "0"
    for category in ("fodc", "banyandb"):
        assert rows(control_plane, namespace, category, "-oname") == [
            ["fodcinjection.fodc.banyandb.dev/banyandb-takeover"]
        ]


def test_explain_tells_the_accepted_words_and_what_they_mean(control_plane: ControlPlane) -> None:
    spec = control_plane.kubectl("explain", "fodcinj.spec", check=True).stdout
    agent_text = control_plane.kubectl("explain", "fodcinj.spec.agent", check=True).stdout

    assert "  podSelector\t<Object> -required-\n    Labels that a pod of this namespace" in spec
    assert "  flavor\t<string>\n  enum: Basic, Process, EBPF\n    How much of the node" in spec
    assert "  captureQuota\t<Object>\n    Disk space of captures that wait" in agent_text

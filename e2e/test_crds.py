# SPDX-License-Identifier: Apache-2.0
"""The custom resources on a real API server: what is accepted, what is refused and in which words.

The one idea: the messages are literal, because they are what a person reads at the prompt.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.controlplane.api import Answer, Api
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import CRDS, READ_BACK, collection, resource

EXAMPLES = sorted((CRDS / "examples").iterdir())
READ = sorted(READ_BACK.glob("*.yaml"))
NOT_CHECKED = (
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
CPU = {"type": "CPUProfile"}
HEAP = {"type": "HeapSnapshot"}
NAMES = (
    "names of captures must differ; one without a name is called by its type, such as cpu, heap "
    "or heap-2"
)
LABEL_VALUE = (
    "must be a value of a label: letters, digits, '-', '_' and '.', a letter or digit at both ends"
)


def at_most(path: str, value: int, limit: int) -> str:
    """What the server says of a number beyond its limit."""
    return f"Invalid value: {value}: {path} in body should be less than or equal to {limit}"


def at_least(path: str, value: int, limit: int) -> str:
    """What the server says of a number below its limit."""
    return f"Invalid value: {value}: {path} in body should be greater than or equal to {limit}"


def in_words(path: str) -> str:
    """What the server says of a text where a number belongs."""
    return f'{path} in body must be of type integer: "string"'


class Requests:
    """DiagnosticRequests of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.path = collection(namespace, "diagnosticrequests")
        self._made = 0

    def create(self, name: str = "", **spec: Any) -> Answer:
        """Create one: all nodes and a CPU profile unless the test says otherwise."""
        self._made += 1
        whole = {"target": {"all": True}, "captures": [CPU], **spec}
        body = resource("DiagnosticRequest", name or f"r-{self._made}", spec=whole)
        return self.api.create(self.path, body)

    def patch(self, name: str, patch: object, subresource: str = "") -> Answer:
        """Merge a patch into one, or into its status."""
        return self.api.merge(f"{self.path}/{name}{subresource}", patch)

    def get(self, name: str) -> Any:
        """Read one."""
        return self.api.get(f"{self.path}/{name}").body


@pytest.fixture
def requests(control_plane: ControlPlane, namespace: str) -> Requests:
    return Requests(control_plane.api(), namespace)


def refusal(answer: Answer) -> list[tuple[str, str]]:
    """Field and words of a refusal, without what the server puts before the words of a rule."""
    assert answer.status == 422, answer.body
    return [
        (
            field,
            message.removeprefix('Invalid value: "object": ')
            .removeprefix('Invalid value: "array": ')
            .removeprefix('Invalid value: "string": '),
        )
        for field, message in answer.causes
        if message != NOT_CHECKED
    ]


# ---- accepted --------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_each_example_is_applied_as_it_stands(
    control_plane: ControlPlane, namespace: str, folder: Path
) -> None:
    where = (f"--namespace={namespace}", "--validate=strict")

    answer = control_plane.kubectl("apply", *where, "-f", str(folder))

    made = control_plane.kubectl("get", f"--namespace={namespace}", "fodc", "-oname", check=True)
    kinds = [line.partition(".")[0] for line in made.stdout.splitlines()]
    assert (answer.returncode, answer.stderr) == (0, "")
    assert len(kinds) == len(list(folder.iterdir()))
    assert "fodcnode" not in kinds
    assert kinds.count("fodcinjection") <= 1


@pytest.mark.parametrize("path", READ, ids=lambda path: path.stem)
def test_a_status_is_accepted_apart_from_its_spec(
    control_plane: ControlPlane, namespace: str, path: Path
) -> None:
    example = yaml.safe_load(path.read_text())
    where = collection(namespace, example["kind"].lower() + "s")
    status = example["status"]

    api = control_plane.api()
    created = api.create(where, example)
    written = api.merge(f"{where}/{example['metadata']['name']}/status", {"status": status})

    assert (created.status, "status" in created.body) == (201, False)
    assert (written.status, written.body["status"]) == (200, status)


def test_the_shortest_request_gets_its_defaults(requests: Requests) -> None:
    spec = requests.create().body["spec"]

    assert spec == {
        "target": {"all": True, "includeOffline": False},
        "captures": [{"type": "CPUProfile"}],
        "execution": {
            "parallelism": 4,
            "startDeadlineSeconds": 300,
            "activeDeadlineSeconds": 900,
            "targetTimeoutSlackSeconds": 30,
            "backoffLimit": 1,
            "failurePolicy": "Continue",
        },
        "ttlSecondsAfterFinished": 86400,
        "purpose": "",
    }


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("names", {"target": {"names": ["a", "b"]}}),
    ("roles", {"target": {"roles": ["Data", "Liaison"]}}),
    ("tiers", {"target": {"tiers": ["hot"]}}),
    ("labels", {"target": {"selector": {"matchLabels": {"fodc.banyandb.dev/role": "Data"}}}}),
    (
        "expressions",
        {"target": {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}},
    ),
    ("longest profile", {"captures": [{"type": "CPUProfile", "durationSeconds": 120}]}),
    ("longest trace", {"captures": [{"type": "ExecutionTrace", "durationSeconds": 30}]}),
    ("shortest", {"captures": [{"type": "MutexProfile", "durationSeconds": 1}]}),
    ("two of an instant type", {"captures": [HEAP, HEAP]}),
    ("a default name for itself", {"captures": [HEAP | {"name": "heap"}, HEAP]}),
    (
        "the name of a type that is named",
        {"captures": [HEAP | {"name": "cpu"}, CPU | {"name": "b"}]},
    ),
    ("gc", {"captures": [{"type": "HeapSnapshot", "heap": {"gc": True}}]}),
    ("a kind of the node's", {"captures": [CPU, {"type": "goroutineleak"}]}),
    ("long life", {"ttlSecondsAfterFinished": 2592000}),
    ("deadline as long as the capture", {"execution": {"activeDeadlineSeconds": 30}}),
    (
        "short deadline for what takes no time",
        {"captures": [HEAP], "execution": {"activeDeadlineSeconds": 1}},
    ),
]


@pytest.mark.parametrize("spec", [spec for _, spec in ACCEPTED], ids=[name for name, _ in ACCEPTED])
def test_a_sensible_request_is_accepted(requests: Requests, spec: dict[str, Any]) -> None:
    answer = requests.create(**spec)

    assert (answer.status, answer.body.get("message")) == (201, None)


# ---- refused ---------------------------------------------------------------------------------

EMPTY_TARGET = (
    "give names, roles, tiers or selector, or say all: true; an empty target never means everything"
)
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("empty target", {"target": {}}, "spec.target", EMPTY_TARGET),
    ("empty names", {"target": {"names": []}}, "spec.target", EMPTY_TARGET),
    (
        "empty selector",
        {"target": {"selector": {}}},
        "spec.target.selector",
        "an empty selector would match every node; say all: true for that",
    ),
    (
        "all and more",
        {"target": {"all": True, "roles": ["Data"]}},
        "spec.target.all",
        "excludes names, roles, tiers and selector; give one or the other",
    ),
    (
        "role in small letters",
        {"target": {"roles": ["data"]}},
        "spec.target.roles[0]",
        ('Unsupported value: "data": supported values: "Data", "Liaison", "Meta", "Standalone"'),
    ),
    (
        "name twice",
        {"target": {"names": ["a", "a"]}},
        "spec.target.names[1]",
        'Duplicate value: "a"',
    ),
    (
        "In without values",
        {"target": {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
        "spec.target.selector.matchExpressions[0].values",
        "In and NotIn need values, Exists and DoesNotExist take none",
    ),
    (
        "Exists with values",
        {
            "target": {
                "selector": {
                    "matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]
                }
            }
        },
        "spec.target.selector.matchExpressions[0].values",
        "In and NotIn need values, Exists and DoesNotExist take none",
    ),
    (
        "no capture",
        {"captures": []},
        "spec.captures",
        "Invalid value: 0: spec.captures in body should have at least 1 items",
    ),
    (
        "nine captures",
        {"captures": [HEAP] * 9},
        "spec.captures",
        "Too many: 9: must have at most 8 items",
    ),
    (
        "what the product cannot capture",
        {"captures": [{"type": "KernelCapture"}]},
        "spec.captures[0].type",
        (
            "must be one of CPUProfile, HeapSnapshot, AllocationProfile, GoroutineDump, "
            "BlockProfile, MutexProfile, ThreadCreateProfile, ExecutionTrace, Window, Config, "
            "OnCPUProfile, OffCPUProfile, ReadLatency, BlockLatency, or the name of another kind "
            "that the node offers"
        ),
    ),
    (
        "a known kind by its short name",
        {"captures": [{"type": "cpu"}]},
        "spec.captures[0].type",
        "known kinds are written like CPUProfile, and what is no profile cannot be captured",
    ),
    (
        "two of a kind of the node's by one name",
        {"captures": [{"type": "goroutineleak"}, HEAP | {"name": "goroutineleak"}]},
        "spec.captures",
        NAMES,
    ),
    (
        "duration of an instant",
        {"captures": [{"type": "HeapSnapshot", "durationSeconds": 10}]},
        "spec.captures[0].durationSeconds",
        "not allowed for HeapSnapshot: it is taken in an instant",
    ),
    (
        "too long a profile",
        {"captures": [CPU | {"durationSeconds": 121}]},
        "spec.captures[0].durationSeconds",
        at_most("spec.captures[0].durationSeconds", 121, 120),
    ),
    (
        "too long a trace",
        {"captures": [{"type": "ExecutionTrace", "durationSeconds": 31}]},
        "spec.captures[0].durationSeconds",
        "must be at most 30 for ExecutionTrace",
    ),
    (
        "too short",
        {"captures": [CPU | {"durationSeconds": 0}]},
        "spec.captures[0].durationSeconds",
        at_least("spec.captures[0].durationSeconds", 0, 1),
    ),
    (
        "duration in words",
        {"captures": [CPU | {"durationSeconds": "1 minute"}]},
        "spec.captures[0].durationSeconds",
        in_words("spec.captures[0].durationSeconds"),
    ),
    (
        "heap options of another type",
        {"captures": [CPU | {"heap": {"gc": True}}]},
        "spec.captures[0].heap",
        "only for HeapSnapshot, not for CPUProfile",
    ),
    (
        "two CPU profiles",
        {"captures": [CPU, CPU]},
        "spec.captures",
        (
            "at most one CPUProfile and one ExecutionTrace per request: a Go process runs one "
            "of each at a time"
        ),
    ),
    (
        "one name for two",
        {"captures": [HEAP | {"name": "a"}, CPU | {"name": "a"}]},
        "spec.captures",
        "names of captures must differ",
    ),
    (
        "the name that another capture gets",
        {"captures": [HEAP | {"name": "cpu"}, CPU]},
        "spec.captures",
        NAMES,
    ),
    (
        "the name that a second capture gets",
        {"captures": [HEAP, HEAP | {"name": "heap-3"}, HEAP]},
        "spec.captures",
        NAMES,
    ),
    (
        "capture with capitals",
        {"captures": [CPU | {"name": "Cpu"}]},
        "spec.captures[0].name",
        "must be a-z, 0-9 and '-', a letter or digit at both ends",
    ),
    (
        "a key that no label has",
        {"target": {"selector": {"matchLabels": {"a b": "c"}}}},
        "spec.target.selector.matchLabels",
        "every key must be the key of a label, such as app.kubernetes.io/name",
    ),
    (
        "a value that no label has",
        {"target": {"selector": {"matchLabels": {"a": "-c"}}}},
        "spec.target.selector.matchLabels[a]",
        LABEL_VALUE,
    ),
    (
        "an expression about a key that no label has",
        {"target": {"selector": {"matchExpressions": [{"key": "a/b/c", "operator": "Exists"}]}}},
        "spec.target.selector.matchExpressions[0].key",
        "must be the key of a label, such as app.kubernetes.io/name",
    ),
    (
        "an expression about a value that no label has",
        {
            "target": {
                "selector": {
                    "matchExpressions": [{"key": "a", "operator": "In", "values": ["b c"]}]
                }
            }
        },
        "spec.target.selector.matchExpressions[0].values[0]",
        LABEL_VALUE,
    ),
    (
        "a deadline in words",
        {"execution": {"activeDeadlineSeconds": "soon"}},
        "spec.execution.activeDeadlineSeconds",
        in_words("spec.execution.activeDeadlineSeconds"),
    ),
    (
        "a life in days",
        {"ttlSecondsAfterFinished": "1d"},
        "spec.ttlSecondsAfterFinished",
        in_words("spec.ttlSecondsAfterFinished"),
    ),
    (
        "a long word that means nothing",
        {"cancel": "StopEverything"},
        "spec.cancel",
        'Unsupported value: "StopEverything": supported values: "Stop", "Abort"',
    ),
    (
        "too parallel",
        {"execution": {"parallelism": 17}},
        "spec.execution.parallelism",
        (
            "Invalid value: 17: spec.execution.parallelism in body should be less than or "
            "equal to 16"
        ),
    ),
    (
        "endless",
        {"execution": {"activeDeadlineSeconds": 10800}},
        "spec.execution.activeDeadlineSeconds",
        at_most("spec.execution.activeDeadlineSeconds", 10800, 7200),
    ),
    (
        "deadline below the default duration",
        {"execution": {"activeDeadlineSeconds": 29}},
        "spec.execution.activeDeadlineSeconds",
        "must not be shorter than the longest capture",
    ),
    (
        "deadline below a given duration",
        {
            "captures": [HEAP, CPU | {"durationSeconds": 40}],
            "execution": {"activeDeadlineSeconds": 39},
        },
        "spec.execution.activeDeadlineSeconds",
        "must not be shorter than the longest capture",
    ),
    (
        "no time to start",
        {"execution": {"startDeadlineSeconds": 0}},
        "spec.execution.startDeadlineSeconds",
        at_least("spec.execution.startDeadlineSeconds", 0, 1),
    ),
    (
        "endless slack",
        {"execution": {"targetTimeoutSlackSeconds": 660}},
        "spec.execution.targetTimeoutSlackSeconds",
        at_most("spec.execution.targetTimeoutSlackSeconds", 660, 600),
    ),
    (
        "short life",
        {"ttlSecondsAfterFinished": 59},
        "spec.ttlSecondsAfterFinished",
        at_least("spec.ttlSecondsAfterFinished", 59, 60),
    ),
    (
        "long life",
        {"ttlSecondsAfterFinished": 2_592_001},
        "spec.ttlSecondsAfterFinished",
        at_most("spec.ttlSecondsAfterFinished", 2_592_001, 2_592_000),
    ),
    (
        "cancel in small letters",
        {"cancel": "stop"},
        "spec.cancel",
        'Unsupported value: "stop": supported values: "Stop", "Abort"',
    ),
    (
        "long purpose",
        {"purpose": "x" * 257},
        "spec.purpose",
        "Too long: may not be more than 256 bytes",
    ),
]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_a_wrong_request_is_refused_with_field_and_advice(
    requests: Requests, spec: dict[str, Any], field: str, message: str
) -> None:
    answer = requests.create(**spec)

    assert refusal(answer) == [(field, message)]


def test_a_request_with_too_long_a_name_is_refused(requests: Requests) -> None:
    answer = requests.create(name="x" * 64)

    assert refusal(answer) == [
        ("<nil>", "metadata.name must be at most 63 characters: the request's id begins with it")
    ]


def test_a_field_of_a_later_version_is_named_by_kubectl(
    control_plane: ControlPlane, namespace: str
) -> None:
    spec = {"target": {"all": True, "mode": "One"}, "captures": [CPU]}
    document = yaml.safe_dump(resource("DiagnosticRequest", "later", spec=spec))

    answer = control_plane.kubectl("apply", f"--namespace={namespace}", "-f", "-", stdin=document)

    assert answer.returncode == 1
    assert 'unknown field "spec.target.mode"' in answer.stderr


def test_what_a_person_reads_at_the_prompt(control_plane: ControlPlane, namespace: str) -> None:
    document = yaml.safe_dump(
        resource(
            "DiagnosticRequest",
            "long",
            spec={"target": {}, "captures": [{"type": "ExecutionTrace", "durationSeconds": 31}]},
        )
    )

    answer = control_plane.kubectl("apply", f"--namespace={namespace}", "-f", "-", stdin=document)

    head, *causes = answer.stderr.splitlines()
    assert head == 'The DiagnosticRequest "long" is invalid: '
    assert sorted(causes) == [
        (
            '* spec.captures[0].durationSeconds: Invalid value: "object": '
            "must be at most 30 for ExecutionTrace"
        ),
        f'* spec.target: Invalid value: "object": {EMPTY_TARGET}',
    ]


# ---- changes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "patch"),
    [
        ("target", {"target": {"all": False, "names": ["a"]}}),
        ("captures", {"captures": [HEAP]}),
        ("execution", {"execution": {"parallelism": 3}}),
        ("purpose", {"purpose": "another"}),
    ],
)
def test_the_spec_cannot_change(requests: Requests, field: str, patch: object) -> None:
    requests.create(name="one", purpose="first")

    answer = requests.patch("one", {"spec": patch})

    assert refusal(answer) == [(f"spec.{field}", "cannot change; create another request")]


def test_removing_the_execution_brings_its_defaults_back_and_cannot_dodge_the_rule(
    requests: Requests,
) -> None:
    requests.create(name="plain")
    requests.create(name="careful", execution={"parallelism": 1})

    same = requests.patch("plain", {"spec": {"execution": None}})
    other = requests.patch("careful", {"spec": {"execution": None}})

    assert same.status == 200
    assert refusal(other) == [("spec.execution", "cannot change; create another request")]


def test_cancel_goes_forward_only(requests: Requests) -> None:
    back = "cannot be taken back; Stop can become Abort, nothing else can change"
    requests.create(name="one")

    steps = [requests.patch("one", {"spec": {"cancel": word}}) for word in ("Stop", "Abort")]
    refused = [requests.patch("one", {"spec": {"cancel": word}}) for word in ("Stop", None)]

    assert [answer.status for answer in steps] == [200, 200]
    assert [refusal(answer) for answer in refused] == [[("spec.cancel", back)]] * 2


def test_the_life_after_the_end_can_change(requests: Requests) -> None:
    requests.create(name="one")

    answer = requests.patch("one", {"spec": {"ttlSecondsAfterFinished": 7200}})

    assert (answer.status, answer.body["spec"]["ttlSecondsAfterFinished"]) == (200, 7200)


# ---- status, selection, reading --------------------------------------------------------------


def test_status_and_spec_are_written_apart(requests: Requests) -> None:
    requests.create(name="one")
    both = {"spec": {"cancel": "Stop"}, "status": {"phase": "Running"}}

    requests.patch("one", both, subresource="/status")
    by_status = requests.get("one")
    requests.patch("one", {"spec": {"cancel": "Stop"}, "status": {"phase": "Failed"}})
    by_spec = requests.get("one")

    assert (by_status["spec"].get("cancel"), by_status["status"]["phase"]) == (None, "Running")
    assert (by_spec["spec"]["cancel"], by_spec["status"]["phase"]) == ("Stop", "Running")
    assert (by_status["metadata"]["generation"], by_spec["metadata"]["generation"]) == (1, 2)


def test_the_operator_cannot_write_a_phase_that_does_not_exist(requests: Requests) -> None:
    requests.create(name="one")

    answer = requests.patch("one", {"status": {"phase": "Done"}}, subresource="/status")

    assert refusal(answer) == [
        (
            "status.phase",
            (
                'Unsupported value: "Done": supported values: "Pending", "Queued", "Running", '
                '"Finalizing", "Succeeded", "PartiallySucceeded", "Failed", "Cancelled", "Rejected"'
            ),
        )
    ]


def test_the_largest_status_is_accepted(requests: Requests) -> None:
    requests.create(name="large", captures=[HEAP] * 8)
    result = {
        "type": "HeapSnapshot",
        "phase": "Succeeded",
        "artifactID": "art-" + "0" * 24,
        "downloadPath": "/artifacts/art-" + "0" * 24,
        "sizeBytes": 123456,
        "sha256": "0" * 64,
        "format": "pprof",
        "samples": 1000,
        "elapsedMilliseconds": 200,
    }
    results = [{"captureName": f"heap-{at}", **result} for at in range(8)]
    targets = [
        {"nodeName": f"banyandb-data-hot-{at}", "phase": "Succeeded", "results": results}
        for at in range(256)
    ]

    answer = requests.patch("large", {"status": {"targets": targets}}, subresource="/status")

    assert answer.status == 200


def test_waiting_for_success_works(requests: Requests, control_plane: ControlPlane) -> None:
    requests.create(name="one")
    condition = {
        "type": "Succeeded",
        "status": "True",
        "lastTransitionTime": "2026-11-21T09:00:00Z",
        "reason": "Succeeded",
        "message": "all 1 captures succeeded",
    }
    requests.patch("one", {"status": {"conditions": [condition]}}, subresource="/status")
    namespace = requests.path.split("/")[-2]

    answer = control_plane.kubectl(
        "wait", f"--namespace={namespace}", "--for=condition=Succeeded", "--timeout=5s", "diag/one"
    )

    assert (answer.returncode, answer.stdout) == (
        0,
        "diagnosticrequest.fodc.banyandb.dev/one condition met\n",
    )


def test_requests_are_found_by_phase_and_no_other_status(requests: Requests) -> None:
    requests.create(name="running")
    requests.create(name="new")
    requests.patch("running", {"status": {"phase": "Running"}}, subresource="/status")

    found = requests.api.get(f"{requests.path}?fieldSelector=status.phase=Running").body["items"]
    other = requests.api.get(f"{requests.path}?fieldSelector=status.progress=1/1")

    assert [item["metadata"]["name"] for item in found] == ["running"]
    assert (other.status, other.message) == (400, "field label not supported: status.progress")


class Nodes:
    """FodcNodes of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.path = collection(namespace, "fodcnodes")

    def create(self, name: str, spec: object) -> Answer:
        """Create one."""
        return self.api.create(self.path, resource("FodcNode", name, spec=spec))

    def found(self, selector: str) -> list[str]:
        """Names of those that a field selector finds."""
        items = self.api.get(f"{self.path}?fieldSelector={selector}").body["items"]
        return [item["metadata"]["name"] for item in items]


@pytest.fixture
def nodes(control_plane: ControlPlane, namespace: str) -> Nodes:
    return Nodes(control_plane.api(), namespace)


def test_nodes_are_found_by_role_tier_phase_and_maintenance(nodes: Nodes) -> None:
    for name, maintenance in (("a", True), ("b", False)):
        nodes.create(name, {"maintenance": maintenance})
    status = {"phase": "Offline", "role": "Data", "tier": "hot"}
    nodes.api.merge(f"{nodes.path}/b/status", {"status": status})

    assert nodes.found("spec.maintenance=true") == ["a"]
    assert nodes.found("status.phase=Offline") == ["b"]
    assert nodes.found("status.role=Data,status.tier=hot") == ["b"]


def test_a_node_is_deleted_at_once_although_no_operator_runs(nodes: Nodes) -> None:
    nodes.create("a", {})

    nodes.api.delete(f"{nodes.path}/a")

    assert nodes.api.get(f"{nodes.path}/a").status == 404


def write_examples(control_plane: ControlPlane, namespace: str) -> None:
    """Create what is read back, and write its status."""
    for path in READ:
        example = yaml.safe_load(path.read_text())
        where = collection(namespace, example["kind"].lower() + "s")
        control_plane.api().create(where, example)
        name = example["metadata"]["name"]
        patch = {"status": example["status"]}
        assert control_plane.api().merge(f"{where}/{name}/status", patch).status == 200


def rows(control_plane: ControlPlane, namespace: str, *what: str) -> list[list[str]]:
    """What kubectl prints, cut into words."""
    text = control_plane.kubectl("get", f"--namespace={namespace}", *what, check=True).stdout
    return [line.split() for line in text.splitlines() if line]


def test_the_tables_show_what_people_look_for(control_plane: ControlPlane, namespace: str) -> None:
    write_examples(control_plane, namespace)

    node_head, node = rows(control_plane, namespace, "fodcn")
    request_head, request = rows(control_plane, namespace, "dreq")

    assert " ".join(node_head) == "NAME ROLE TIER PHASE HEARTBEAT AGENT ACTIVE INCIDENT AGE"
    assert (node[:4], node[5:8]) == (
        ["banyandb-data-hot-0", "Data", "hot", "Degraded"],
        ["0.1.0", "1", "OOMKilled"],
    )
    assert " ".join(request_head) == "NAME CAPTURES PROGRESS PHASE REASON BYTES STARTED AGE"
    assert " ".join(request[:6]) == "cpu-of-the-hot-tier CPUProfile 2/2 Cancelled Cancelled 48211"


def test_all_kinds_are_listed_by_their_categories(
    control_plane: ControlPlane, namespace: str
) -> None:
    write_examples(control_plane, namespace)
    expected = [
        "diagnosticrequest.fodc.banyandb.dev/cpu-of-the-hot-tier",
        "fodcinjection.fodc.banyandb.dev/banyandb-takeover",
        "fodcnode.fodc.banyandb.dev/banyandb-data-hot-0",
    ]

    assert [row[0] for row in rows(control_plane, namespace, "fodc", "-oname")] == expected
    assert [row[0] for row in rows(control_plane, namespace, "banyandb", "-oname")] == expected


def test_explain_tells_the_accepted_words_and_what_they_mean(control_plane: ControlPlane) -> None:
    text = control_plane.kubectl("explain", "dreq.spec.captures", check=True).stdout

    assert "  type\t<string> -required-\n    What is captured. Sampled for a duration:" in text
    assert "  durationSeconds\t<integer>\n    How long to sample. By default 30, and 5" in text

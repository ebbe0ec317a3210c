# SPDX-License-Identifier: Apache-2.0
"""The ways in which one more container could break a pod, and what is done about each."""

from typing import Any

import pytest

from fodc_webhook.inject import marks
from fodc_webhook.inject.inject import inject
from fodc_webhook.inject.obstacles import MAX_CONTAINERS
from fodc_webhook.inject.outcome import Outcome, SkipReason
from fodc_webhook.inject.patch import json_patch
from fodc_webhook.inject.revision import revision_of
from fodc_webhook.resources.fodc_injection import Flavor, Mode
from tests.webhook.pods import (
    PRIVILEGED,
    SERVER,
    agent_in,
    arguments,
    container_in,
    crash,
    database,
    injected,
    names_of,
    other,
    pod,
    policy,
)


def skipped(given: Any, server: tuple[int, int] = SERVER, **spec: Any) -> tuple[SkipReason, str]:
    """Reason and sentence; the pod is as it came, but for the annotation that says so."""
    made = inject(given, policy(**spec), server, {})
    assert made.outcome is Outcome.SKIPPED
    assert made.reason is not None
    said = {marks.SKIPPED: f"{made.reason}: {made.message}"}
    annotations = {**given["metadata"].get("annotations", {}), **said}
    assert made.pod == {**given, "metadata": {**given["metadata"], "annotations": annotations}}
    return made.reason, made.message


# ---- pods that are left alone -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            pod(restartPolicy="Never"),
            "the pod's restartPolicy is Never, so it is to end by itself",
        ),
        (
            pod(restartPolicy="OnFailure"),
            "the pod's restartPolicy is OnFailure, so it is to end by itself",
        ),
        (
            pod(activeDeadlineSeconds=600),
            "the pod has activeDeadlineSeconds, so it is to end by itself",
        ),
        (
            pod(labels={"batch.kubernetes.io/job-name": "backup"}),
            "the pod belongs to a Job, so it is to end by itself",
        ),
        (
            pod(labels={"job-name": "backup"}),
            "the pod belongs to a Job, so it is to end by itself",
        ),
    ],
)
def test_a_pod_that_is_to_end_by_itself_is_left_alone(given: Any, sentence: str) -> None:
    """A container that never ends would keep it running (P23)."""
    reason, message = skipped(given)
    assert reason is SkipReason.JOB
    assert message == (
        f"{sentence}, which an agent beside it would hinder; label such pods "
        "fodc.banyandb.dev/inject: disabled to say no more about it"
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (pod(os={"name": "windows"}), "the pod's os.name is windows; the agent runs on linux"),
        (
            pod(nodeSelector={"kubernetes.io/os": "windows"}),
            "the pod's nodeSelector wants kubernetes.io/os: windows; the agent runs on linux",
        ),
        (
            pod(securityContext={"windowsOptions": {"runAsUserName": "x"}}),
            "the pod has securityContext.windowsOptions; the agent runs on linux",
        ),
        (
            pod(db=database(securityContext={"windowsOptions": {"hostProcess": True}})),
            "the pod has securityContext.windowsOptions; the agent runs on linux",
        ),
    ],
)
def test_a_pod_for_another_system_is_left_alone(given: Any, sentence: str) -> None:
    assert skipped(given) == (SkipReason.NOT_LINUX, sentence)


@pytest.mark.parametrize(
    "given",
    [pod(os={"name": "linux"}), pod(nodeSelector={"kubernetes.io/os": "linux", "disk": "ssd"})],
)
def test_a_pod_that_says_linux_gets_an_agent(given: Any) -> None:
    injected(given)


def bound_to(*systems: str) -> dict[str, Any]:
    """A required nodeAffinity with one term for each system."""
    terms = [
        {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": [system]}]}
        for system in systems
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


def test_a_pod_that_must_run_on_windows_is_left_alone() -> None:
    """K14: the selector was seen and a required affinity was not."""
    sentence = "the pod's required nodeAffinity wants kubernetes.io/os in windows; "

    assert skipped(pod(affinity=bound_to("windows"))) == (
        SkipReason.NOT_LINUX,
        f"{sentence}the agent runs on linux",
    )
    injected(pod(affinity=bound_to("windows", "linux")))


def test_the_agent_has_the_label_of_selinux_that_the_database_has() -> None:
    """K14: with another one it could neither see the process nor read what both share."""
    label = {"level": "s0:c1,c2"}
    made = injected(pod(db=database(securityContext={"seLinuxOptions": label})))
    (agent,) = made.pod["spec"]["initContainers"]

    assert agent["securityContext"]["seLinuxOptions"] == label


def test_our_volumes_keep_no_machine_from_being_drained() -> None:
    """K13: an emptyDir of ours did, also where the pod says which of its own may go."""
    mine = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
    plain = injected(pod()).pod["metadata"]["annotations"][mine]
    listed = injected(pod(annotations={mine: "cache"})).pod["metadata"]["annotations"][mine]

    assert (plain, listed) == ("fodc-agent-data", "cache,fodc-agent-data")


def test_a_mirror_of_a_static_pod_is_not_even_marked() -> None:
    given = pod(annotations={"kubernetes.io/config.mirror": "0123"})

    made = inject(given, policy(), SERVER, {})

    assert made.pod == given
    assert (made.outcome, made.reason) == (Outcome.SKIPPED, SkipReason.STATIC_POD)
    assert made.message == (
        "the pod mirrors a static one of a machine, which the API server cannot change; put the "
        "agent into the machine's manifest"
    )


def test_a_server_that_is_too_old_is_named() -> None:
    assert skipped(pod(), server=(1, 26)) == (
        SkipReason.TOO_OLD,
        "the API server is Kubernetes 1.26; agents need 1.27 or later",
    )


def test_sixty_containers_are_no_obstacle() -> None:
    made = injected(pod(*[other(f"c-{at}") for at in range(59)]))
    assert len(names_of(made)) == 60
    assert names_of(made, "initContainers") == ["fodc-agent"]


def test_more_containers_than_the_limit_are_one() -> None:
    given = pod(*[other(f"c-{at}") for at in range(MAX_CONTAINERS)])
    assert skipped(given) == (
        SkipReason.TOO_MANY_CONTAINERS,
        "the pod has 129 containers; pods with more than 128 get no agent",
    )


@pytest.mark.parametrize("place", ["containers", "initContainers"])
def test_an_agent_from_elsewhere_is_left_alone_wherever_it_stands(place: str) -> None:
    given = pod(other("fodc-agent")) if place == "containers" else pod()
    if place == "initContainers":
        given["spec"]["initContainers"] = [other("fodc-agent", restartPolicy="Always")]
    reason, message = skipped(given)
    assert reason is SkipReason.FOREIGN_AGENT
    assert "set takeOver: true in the FodcInjection banyandb" in message


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("place", ["containers", "initContainers"])
def test_an_agent_from_elsewhere_is_replaced_wherever_it_stands(place: str, mode: Mode) -> None:
    foreign = other("fodc-agent", args=["--lifecycle-port=1"])
    given = pod(other("a"), other("b"))
    given["spec"].setdefault(place, []).insert(1, foreign)
    made = injected(given, takeOver=True, mode=mode)
    assert "lifecycle-port" not in arguments(made)
    if mode is not Mode.CONTAINER:
        assert names_of(made) == ["banyandb", "a", "b"]
        assert names_of(made, "initContainers") == ["fodc-agent"]
    elif place == "containers":
        assert names_of(made) == ["banyandb", "fodc-agent", "a", "b"]
    else:
        assert names_of(made) == ["banyandb", "a", "b", "fodc-agent"]
        assert names_of(made, "initContainers") == []


# ---- names that are taken ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fodc-agent-data", "fodc-agent-token"])
def test_a_volume_with_a_name_of_ours_is_no_volume_of_ours(name: str) -> None:
    given = pod(volumes=[{"name": name, "hostPath": {"path": "/"}}])
    assert skipped(given) == (
        SkipReason.NAME_TAKEN,
        f"the pod has a volume {name}, which the agent needs for itself; rename it",
    )


def test_a_volume_that_is_not_needed_is_not_in_the_way() -> None:
    injected(pod(volumes=[{"name": "fodc-agent-tracing", "emptyDir": {}}]))
    reason, _ = skipped(
        pod(volumes=[{"name": "fodc-agent-tls", "emptyDir": {}}]), agent={"tlsSecretName": "tls"}
    )
    assert reason is SkipReason.NAME_TAKEN


def test_a_mount_of_another_container_at_the_agents_place_is_no_conflict() -> None:
    """Mounts are per container."""
    mount = {"name": "home", "mountPath": "/var/lib/fodc"}
    given = pod(db=database(volumeMounts=[mount]), volumes=[{"name": "home", "emptyDir": {}}])
    made = injected(given)
    assert container_in(made)["volumeMounts"] == [mount]
    assert agent_in(made)["volumeMounts"][0] == {
        "name": "fodc-agent-data",
        "mountPath": "/var/lib/fodc",
    }


# ---- ports ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "beside",
    [
        other(ports=[{"containerPort": 9090}]),
        other(ports=[{"containerPort": 80, "hostPort": 9090}]),
        other(args=["--web.listen-address=:9090"]),
        other(command=["/prometheus", "--listen", "0.0.0.0:9090"]),
        other(env=[{"name": "PORT", "value": "9090"}]),
        other(readinessProbe={"httpGet": {"port": 9090, "path": "/"}}),
    ],
)
def test_a_port_that_another_container_talks_of_is_left_to_it(beside: Any) -> None:
    """A native sidecar starts first, and would take it away."""
    made = injected(pod(beside))
    assert arguments(made)["prometheus-listen-addr"] == ":19090"
    assert agent_in(made)["ports"] == [
        {"name": "fodc-agent-http", "containerPort": 19090, "protocol": "TCP"}
    ]
    assert agent_in(made)["livenessProbe"]["httpGet"]["port"] == 19090


@pytest.mark.parametrize("word", ["19090x90909", "sha256:990901", "190900"])
def test_a_number_that_only_contains_the_port_is_another(word: str) -> None:
    assert arguments(injected(pod(other(args=[word]))))["prometheus-listen-addr"] == ":9090"


def test_the_next_port_is_tried_when_two_are_taken() -> None:
    made = injected(pod(other(args=[":9090", ":19090", ":19091"])))
    assert arguments(made)["prometheus-listen-addr"] == ":19092"


def test_the_name_of_a_port_is_left_to_who_has_it() -> None:
    """A Service finds a port by its name in the first container that has it."""
    made = injected(pod(other(ports=[{"name": "fodc-agent-http", "containerPort": 80}])))
    assert agent_in(made)["ports"] == [{"containerPort": 9090, "protocol": "TCP"}]


def test_with_the_machines_network_no_port_is_asked_for() -> None:
    made = injected(pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"))
    assert arguments(made)["prometheus-listen-addr"] == "127.0.0.1:0"
    assert "ports" not in agent_in(made)
    assert "livenessProbe" not in agent_in(made)
    assert made.note == ""


def test_with_the_machines_network_an_address_outside_the_cluster_is_found() -> None:
    made = injected(pod(hostNetwork=True), agent={"proxyAddress": "fodc.example.com:17912"})
    assert made.note == ""


# ---- the order of containers ------------------------------------------------------------------


def test_the_agent_is_the_last_of_the_init_containers() -> None:
    given = pod(initContainers=[other("first"), other("mesh", restartPolicy="Always")])
    made = injected(given)
    assert names_of(made, "initContainers") == ["first", "mesh", "fodc-agent"]
    assert agent_in(made)["restartPolicy"] == "Always"


def test_the_agent_is_the_last_of_the_containers_where_it_is_one() -> None:
    made = injected(pod(other()), mode="Container")
    assert names_of(made) == ["banyandb", "other", "fodc-agent"]
    assert "restartPolicy" not in agent_in(made)
    assert "initContainers" not in made.pod["spec"]
    assert made.mode is Mode.CONTAINER


@pytest.mark.parametrize("place", ["containers", "initContainers"])
def test_a_mesh_that_comes_after_us_keeps_its_place_and_we_ours(place: str) -> None:
    """The API server calls again when another webhook has changed the pod."""
    once = injected(pod(initContainers=[other("init")]))
    spec = dict(once.pod["spec"])
    proxy = other("istio-proxy")
    spec[place] = [proxy, *spec[place]] if place == "containers" else [*spec[place], proxy]
    meshed = {**once.pod, "spec": spec}

    again = inject(meshed, policy(), SERVER, {})

    assert again.pod is meshed
    assert again.outcome is Outcome.INJECTED
    assert again.revision == once.revision


def test_what_others_did_to_the_agent_since_is_kept() -> None:
    """An image mirror that is undone would leave an image which the cluster refuses."""
    once = injected(pod())
    agent = {**agent_in(once), "image": "mirror.example.com/agent:1", "env": []}
    rewritten = {**once.pod, "spec": {**once.pod["spec"], "initContainers": [agent]}}
    assert json_patch(rewritten, inject(rewritten, policy(), SERVER, {}).pod) == []


# ---- our own agent of another revision --------------------------------------------------------


def test_an_agent_of_an_older_revision_is_renewed_in_its_place() -> None:
    given = pod(volumes=[{"name": "before", "emptyDir": {}}])
    old = injected(given, agent={"tlsSecretName": "tls", "windowSize": "64Mi"})
    late = [*old.pod["spec"]["initContainers"], other("late")]
    meshed = {**old.pod, "spec": {**old.pod["spec"], "initContainers": late}}

    made = injected(meshed)

    assert names_of(made, "initContainers") == ["fodc-agent", "late"]
    assert made.pod["metadata"]["annotations"][marks.REVISION] == revision_of(policy())
    assert [one["name"] for one in made.pod["spec"]["volumes"]] == [
        "before",
        "fodc-agent-data",
        "fodc-agent-token",
    ]
    assert made.pod["spec"]["volumes"][1]["emptyDir"] == {"sizeLimit": "360Mi"}


def test_an_agent_that_was_copied_from_a_newer_server_moves_to_the_containers() -> None:
    old = injected(pod(), server=(1, 34))
    made = inject(old.pod, policy(), (1, 28), {})
    assert names_of(made) == ["banyandb", "fodc-agent"]
    assert names_of(made, "initContainers") == []


def test_an_agent_that_was_copied_to_a_stricter_namespace_loses_its_capabilities() -> None:
    spec = {"flavor": "EBPF"}
    old = injected(pod(), namespace=PRIVILEGED, **spec)
    made = injected(old.pod, namespace={}, **spec)
    assert made.flavor is Flavor.PROCESS
    assert "add" not in agent_in(made)["securityContext"]["capabilities"]
    names = [one["name"] for one in made.pod["spec"]["volumes"]]
    assert names == ["fodc-agent-data", "fodc-agent-token"]


def test_annotations_without_an_agent_are_not_believed() -> None:
    copied = {marks.REVISION: revision_of(policy()), marks.SKIPPED: "Paused: for now"}
    made = injected(pod(annotations=copied))
    assert agent_in(made)["image"] == "banyandb-fodc-agent:0.1.0"
    assert marks.SKIPPED not in made.pod["metadata"]["annotations"]


# ---- names and labels -------------------------------------------------------------------------


def test_a_pod_without_a_name_gets_an_agent() -> None:
    given = {"metadata": {"generateName": "db-"}, "spec": {"containers": [database()]}}
    made = injected(given)
    assert made.pod["metadata"]["labels"] == {marks.INJECTED_BY: "banyandb"}


def test_a_policy_with_a_long_name_gives_a_label_that_is_one() -> None:
    """A label value has 63 characters; one more, and the API server refuses the pod."""
    made = inject(pod(), policy(name="a" * 62 + ".b.c"), SERVER, {})
    assert made.pod["metadata"]["labels"][marks.INJECTED_BY] == "a" * 62
    assert made.policy == "a" * 62 + ".b.c"
    assert inject(made.pod, policy(name="a" * 62 + ".b.c"), SERVER, {}) == made


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"metadata": None, "spec": None},
        {"metadata": {}, "spec": {}},
        {"spec": {"containers": None, "initContainers": None, "volumes": None}},
        {"spec": {"containers": [{"name": "x"}]}},
        {"spec": {"containers": [{"name": "x", "command": None, "args": None, "image": None}]}},
    ],
)
def test_a_pod_that_says_nothing_has_no_database(given: Any) -> None:
    made = inject(given, policy(), SERVER, {})
    assert made.reason is SkipReason.NO_DATABASE


def test_nothing_but_nulls_around_a_database_is_no_obstacle() -> None:
    nulls = dict.fromkeys(
        ["env", "ports", "volumeMounts", "resources", "securityContext", "command"]
    )
    given = {
        "metadata": {"labels": None, "annotations": None},
        "spec": {"containers": [database(**nulls)], "initContainers": None, "volumes": None},
    }
    made = injected(given, sharedDirectories=[crash()])
    assert names_of(made, "initContainers") == ["fodc-agent"]


# ---- annotations of the pod -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "argument", "expected"),
    [
        (marks.CONTAINER, "second", "node-container", "second"),
        (marks.PPROF_PORT, "7070", "pprof-ports", "7070"),
        (marks.ROLE, "standalone", "node-role", "standalone"),
        (marks.TIER, "cold", "node-labels", "type=cold"),
        (marks.FLAVOR, "Process", "flavor", "process"),
    ],
)
def test_an_annotation_wins_over_the_policy(
    name: str, value: str, argument: str, expected: str
) -> None:
    given = pod(other("second"), annotations={name: value})
    assert arguments(injected(given, pprofPort=6061))[argument] == expected


def test_an_annotation_chooses_how_the_agent_runs() -> None:
    made = injected(pod(annotations={marks.MODE: "Container"}), mode="NativeSidecar")
    assert made.mode is Mode.CONTAINER


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (marks.FLAVOR, "all", "flavor must be one of Basic, Process, EBPF, got 'all'"),
        (marks.MODE, "auto", "mode must be one of Auto, NativeSidecar, Container, got 'auto'"),
        (marks.PPROF_PORT, "0", "pprof-port must be a port from 1 to 65535, got '0'"),
        (marks.PPROF_PORT, "6060.", "pprof-port must be a port from 1 to 65535, got '6060.'"),
        (marks.ROLE, "meta", "node-role must be one of data, liaison, standalone, got 'meta'"),
        (marks.TIER, "a,b=c", "tier must be the value of a label, such as hot, got 'a,b=c'"),
        (marks.CONTAINER, "A b", "container must be the name of a container, got 'A b'"),
    ],
)
def test_a_wrong_annotation_is_named_and_nothing_is_guessed(
    name: str, value: str, sentence: str
) -> None:
    reason, message = skipped(pod(annotations={name: value}))
    assert reason is SkipReason.BAD_ANNOTATION
    assert message == f"the pod's annotation fodc.banyandb.dev/{sentence}"

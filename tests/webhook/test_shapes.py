# SPDX-License-Identifier: Apache-2.0
"""Who the database is, what kind of node, and its ports, from what a pod tells."""

from typing import Any

import pytest

from fodc_webhook.inject import marks
from fodc_webhook.inject.outcome import SkipReason
from fodc_webhook.inject.shapes import Kind, Shape, ShapeError, shape_of
from tests.webhook.pods import database, other, pod

BANYANDB = "apache/skywalking-banyandb:0.10.0"
HELP = (
    "in databaseContainer of the FodcInjection or in the pod's annotation "
    "fodc.banyandb.dev/container"
)


def only(**container: Any) -> Any:
    return {"metadata": {}, "spec": {"containers": [{"name": "x", **container}]}}


def chart(component: str, *containers: Any, **labels: str) -> Any:
    found = {"app.kubernetes.io/name": "banyandb", "app.kubernetes.io/component": component}
    return {
        "metadata": {"labels": {**found, **labels}},
        "spec": {"containers": list(containers) or [{"name": component, "args": [component]}]},
    }


def named(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "containerPort": port}


# ---- the database container -------------------------------------------------------------------


@pytest.mark.parametrize(
    "container",
    [
        {"image": BANYANDB, "args": ["data"]},
        {"image": "registry.example.com:5000/mirror/db:1", "args": ["data"]},
        {"image": "db", "command": ["/banyand", "data"]},
        {"image": "db", "command": ["/banyand-server-slim"], "args": ["--x", "data"]},
        {"image": "db", "command": ["sh", "-c", "exec /banyand data --x"]},
        {"image": BANYANDB},
        {"image": "apache/skywalking-banyandb@sha256:0123"},
        {"image": BANYANDB, "command": ["/banyand"]},
        {"name": "banyandb", "image": "db"},
    ],
)
def test_a_database_is_found_by_arguments_image_or_name(container: Any) -> None:
    given = only(**container)
    given["spec"]["containers"] += [other("istio-proxy", args=["proxy", "sidecar"]), other("a")]
    assert shape_of(given).container == container.get("name", "x")


def test_the_stronger_evidence_decides() -> None:
    """The image also holds /backup and /lifecycle (upstream-agent §15.5)."""
    backup = {"name": "backup", "image": BANYANDB, "command": ["/backup"]}
    plain = {"name": "banyandb-plain", "image": BANYANDB}
    assert shape_of(pod(backup)).container == "banyandb"
    assert shape_of(pod(plain)).container == "banyandb"
    assert shape_of(pod(other("milvus", args=["standalone"]))).container == "banyandb"


def test_the_labels_of_the_chart_decide_over_all() -> None:
    second = {"name": "second", "image": BANYANDB, "args": ["data"]}
    first = {"name": "data", "image": "mirror/db", "args": ["data"]}
    assert shape_of(chart("data", second, first)).container == "data"


def test_the_agent_is_no_database() -> None:
    agent = {"name": "fodc-agent", "image": BANYANDB, "args": ["data"]}
    assert shape_of(pod(agent)).container == "banyandb"
    with pytest.raises(ShapeError) as caught:
        shape_of({"spec": {"containers": [agent]}})
    assert caught.value.reason is SkipReason.NO_DATABASE


@pytest.mark.parametrize(
    "beside",
    [
        {"name": "second", "image": BANYANDB, "args": ["data"]},
        {"name": "second", "image": BANYANDB, "args": ["standalone"]},
    ],
)
def test_two_databases_are_one_too_many(beside: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        shape_of(pod(beside))
    assert caught.value.reason is SkipReason.SEVERAL_DATABASES
    assert caught.value.message == (f"banyandb, second all look like the database; name one {HELP}")
    assert shape_of(pod(beside), container="second").container == "second"


def test_a_pod_without_a_database_says_whom_it_has() -> None:
    given = {"spec": {"containers": [other(f"c{at}", args=["run", "data"]) for at in range(10)]}}
    with pytest.raises(ShapeError) as caught:
        shape_of(given)
    assert caught.value.reason is SkipReason.NO_DATABASE
    assert caught.value.message == (
        "no container looks like BanyanDB (by name, image or an argument data, liaison or "
        f"standalone) among c0, c1, c2, c3, c4, c5, c6, c7 and 2 more; name it {HELP}"
    )


@pytest.mark.parametrize("name", ["absent", "fodc-agent", "init"])
def test_a_container_that_is_named_must_be_there(name: str) -> None:
    given = pod(other("fodc-agent"), initContainers=[other("init")])
    with pytest.raises(ShapeError) as caught:
        shape_of(given, container=name, told_by="databaseContainer of the FodcInjection")
    assert caught.value.reason is SkipReason.NO_DATABASE
    assert caught.value.message == (
        f"databaseContainer of the FodcInjection names the container {name}, which the pod does "
        "not have; it has banyandb"
    )


# ---- kind and tier ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (only(image=BANYANDB, args=["liaison"]), Kind.LIAISON),
        (only(image=BANYANDB, args=["--x=1", "standalone"]), Kind.STANDALONE),
        (only(image=BANYANDB, args=["--name", "x", "standalone"]), None),
        (only(image=BANYANDB, command=["sh", "-c", "/banyand liaison"]), Kind.LIAISON),
        (only(image=BANYANDB, args=["help", "data"]), None),
        (only(image=BANYANDB), None),
        (chart("liaison", {"name": "liaison", "image": "x"}), Kind.LIAISON),
        (chart("data", {"name": "data", "args": ["standalone"]}), Kind.STANDALONE),
        ({"spec": {"containers": [{"name": "banyandb-data", "image": "x"}]}}, Kind.DATA),
        (
            {"metadata": {"labels": {"app": "banyandb-liaison"}}, **only(image=BANYANDB)}
            | {"metadata": {"labels": {"app": "banyandb-liaison"}}},
            Kind.LIAISON,
        ),
        (pod(annotations={marks.ROLE: "liaison"}), Kind.LIAISON),
    ],
)
def test_the_kind_is_what_the_process_is_told_else_what_the_pod_is_called(
    given: Any, kind: Kind | None
) -> None:
    assert shape_of(given).kind is kind


def env(name: str, value: str) -> dict[str, Any]:
    return {"env": [{"name": name, "value": value}]}


@pytest.mark.parametrize(
    ("given", "tier"),
    [
        (pod(), ""),
        (pod(db=database(**env("BYDB_NODE_LABELS", "type=warm"))), "warm"),
        (pod(db=database(**env("BYDB_NODE_LABELS", "zone=a, type=cold"))), "cold"),
        (pod(db=database(**env("BYDB_NODE_LABELS", "type=$(TIER)"))), ""),
        (pod(db=database(**env("BYDB_NODE_LABELS", "type="))), ""),
        (pod(db=database(**env("BYDB_NODE_LABELS", "type=a b"))), ""),
        (pod(db=database(args=["data", "--node-labels=type=hot"])), "hot"),
        (pod(db=database(args=["data", "--node-labels", "type=hot"])), "hot"),
        (pod(db=database(args=["liaison", "--node-labels=type=hot"])), ""),
        (chart("data", **{"app.kubernetes.io/role": "hot"}), "hot"),
        (pod(labels={"app.kubernetes.io/role": "hot"}), ""),
        (pod(annotations={marks.TIER: "frozen"}), "frozen"),
    ],
)
def test_the_tier_is_what_the_process_is_told_else_the_charts_label(given: Any, tier: str) -> None:
    assert shape_of(given).tier == tier


def test_the_last_of_several_values_counts() -> None:
    """As for the kubelet and for the flags of the process."""
    variables = [*env("BYDB_NODE_LABELS", "type=hot")["env"]]
    variables += env("BYDB_NODE_LABELS", "type=cold")["env"]
    assert shape_of(pod(db=database(env=variables))).tier == "cold"
    args = ["data", "--pprof-listener-addr=:1", "--pprof-listener-addr=:2"]
    assert shape_of(pod(db=database(args=args))).pprof_port == 2


# ---- ports ------------------------------------------------------------------------------------


def test_what_nobody_tells_has_the_ports_of_the_manual() -> None:
    assert shape_of(pod()) == Shape(
        container="banyandb",
        kind=Kind.DATA,
        tier="",
        metrics_ports=(2121,),
        metrics_containers=("banyandb",),
        cluster_state_ports=(17_912,),
        pprof_port=6060,
    )
    liaison = shape_of(pod(db=database(args=["liaison"])))
    assert (liaison.cluster_state_ports, liaison.registry_port) == ((18_912,), 17_912)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            {
                "ports": [
                    named("grpc", 1912),
                    named("pprof", 1060),
                    named("observability", 1121),
                ]
            },
            (1121, 1912, 1060),
        ),
        (
            {
                "ports": [
                    named("grpc", 1912),
                    named("pprof", 1060),
                    named("observability", 1121),
                ],
                "env": [
                    {"name": "BYDB_OBSERVABILITY_LISTENER_ADDR", "value": "0.0.0.0:3121"},
                    {"name": "BYDB_GRPC_PORT", "value": "3912"},
                    {"name": "BYDB_PPROF_LISTENER_ADDR", "value": ":3060"},
                ],
            },
            (3121, 3912, 3060),
        ),
        (
            {
                "args": ["data", "--observability-listener-addr=[::]:4121", "--grpc-port", "4912"],
                "env": [{"name": "BYDB_GRPC_PORT", "value": "3912"}],
            },
            (4121, 4912, 6060),
        ),
        (
            {"args": ["data", "--pprof-listener-addr=", "--grpc-port=many"]},
            (2121, 17_912, 6060),
        ),
        (
            {
                "env": [
                    {
                        "name": "BYDB_PPROF_LISTENER_ADDR",
                        "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}},
                    }
                ],
                "ports": [named("pprof", 1060)],
            },
            (2121, 17_912, 1060),
        ),
    ],
)
def test_flags_win_over_environment_over_declared_ports(
    more: Any, expected: tuple[int, int, int]
) -> None:
    """The precedence of the program itself (upstream-agent §15.5)."""
    shape = shape_of(pod(db=database(**more)))
    assert (shape.metrics_ports[0], shape.cluster_state_ports[0], shape.pprof_port) == expected


def test_a_liaison_tells_its_state_on_its_inner_port() -> None:
    ports = [named("grpc", 17_912), named("internal-grpc", 28_912)]
    shape = shape_of(pod(db=database(args=["liaison"], ports=ports)))
    assert shape.cluster_state_ports == (28_912,)
    variables = env("BYDB_LIAISON_SERVER_GRPC_PORT", "38912")
    shape = shape_of(pod(db=database(args=["liaison"], **variables)))
    assert shape.cluster_state_ports == (38_912,)


def test_a_pprof_port_that_somebody_gives_is_taken() -> None:
    given = pod(db=database(ports=[named("pprof", 1060)]))
    assert shape_of(given, pprof_port=6061).pprof_port == 6061


# ---- the lifecycle container ------------------------------------------------------------------

LIFECYCLE = {"name": "lifecycle", "image": BANYANDB, "command": ["/lifecycle", "--schedule=@daily"]}


@pytest.mark.parametrize(
    "beside",
    [
        LIFECYCLE,
        {**LIFECYCLE, "name": "mover"},
        {"name": "lifecycle", "command": ["sh", "-c", "x"]},
    ],
)
def test_a_lifecycle_container_has_ports_of_its_own(beside: Any) -> None:
    """Names and ports stay one to one (upstream-proxy §16.5, 5)."""
    shape = shape_of(pod(beside))
    assert shape.metrics_containers == ("banyandb", beside["name"])
    assert shape.metrics_ports == (2121, 17_915)
    assert shape.cluster_state_ports == (17_912, 17_914)


def test_a_lifecycle_container_may_be_a_native_sidecar_and_name_its_ports() -> None:
    native = {**LIFECYCLE, "restartPolicy": "Always"}
    native["ports"] = [named("grpc", 1914), named("http", 1915)]
    shape = shape_of(pod(initContainers=[native]))
    assert (shape.metrics_ports, shape.cluster_state_ports) == ((2121, 1915), (17_912, 1914))


def test_an_init_container_that_ends_is_no_lifecycle_container() -> None:
    assert shape_of(pod(initContainers=[LIFECYCLE])).metrics_containers == ("banyandb",)

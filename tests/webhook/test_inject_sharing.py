# SPDX-License-Identifier: Apache-2.0
"""Directories that database and agent share: what is there is used, nothing is hidden."""

from typing import Any

import pytest

from fodc_webhook.inject import marks
from tests.webhook.pods import (
    PRIVILEGED,
    agent_in,
    arguments,
    container_in,
    crash,
    database,
    injected,
    pod,
)

ENABLED = "BYDB_PANIC_DIAGNOSTICS_ENABLED"
DIRECTORY = "BYDB_PANIC_DIAGNOSTICS_DIR"
USER = {"runAsUser": 1000, "runAsGroup": 1000}


def shares(given: Any, *directories: Any) -> Any:
    return injected(given, sharedDirectories=list(directories) or [crash()])


def with_mount(mount: Any, source: Any, **more: Any) -> Any:
    db = database(volumeMounts=[{"name": "theirs", **mount}], securityContext=USER, **more)
    return pod(db=db, volumes=[{"name": "theirs", **source}])


def agent_mounts(made: Any) -> list[Any]:
    return [one for one in agent_in(made)["volumeMounts"] if not one["name"].startswith("fodc-a")]


EMPTY: dict[str, Any] = {"emptyDir": {}}
CLAIM = {"persistentVolumeClaim": {"claimName": "c"}}


# ---- where nothing is -------------------------------------------------------------------------


def test_a_directory_of_our_own_has_a_limit_and_both_mount_it() -> None:
    dumps = {"name": "dumps", "mountPath": "/dumps", "sizeLimit": "64Mi"}
    made = shares(pod(db=database(securityContext=USER)), dumps)
    mount = {"name": "fodc-shared-dumps", "mountPath": "/dumps"}
    assert container_in(made)["volumeMounts"] == [mount]
    assert agent_mounts(made) == [mount]
    assert made.pod["spec"]["volumes"][-1] == {
        "name": "fodc-shared-dumps",
        "emptyDir": {"sizeLimit": "64Mi"},
    }
    assert "env" not in container_in(made)
    assert "crash-source-dir" not in arguments(made)
    assert made.note == ""


def test_the_database_is_told_where_crashes_go_after_what_it_is_told_already() -> None:
    made = shares(pod(db=database(env=[{"name": "A", "value": "1"}], securityContext=USER)))
    assert container_in(made)["env"] == [
        {"name": "A", "value": "1"},
        {"name": ENABLED, "value": "true"},
        {"name": DIRECTORY, "value": "/tmp/crash"},
    ]
    assert arguments(made)["crash-source-dir"] == "/tmp/crash"


def test_a_directory_inside_a_volume_that_is_as_young_as_the_pod_is_our_own() -> None:
    made = shares(with_mount({"mountPath": "/tmp"}, EMPTY))
    assert agent_mounts(made) == [{"name": "fodc-shared-crash", "mountPath": "/tmp/crash"}]


def test_four_directories_are_shared_in_their_order() -> None:
    wanted = [{"name": f"d{at}", "mountPath": f"/d{at}"} for at in range(4)]
    made = shares(pod(), *wanted)
    assert [one["mountPath"] for one in agent_mounts(made)] == ["/d0", "/d1", "/d2", "/d3"]


# ---- where something is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mount", "source", "expected"),
    [
        ({}, EMPTY, {}),
        ({"subPath": "a/b"}, EMPTY, {"subPath": "a/b"}),
        ({"readOnly": True}, EMPTY, {"readOnly": True}),
        ({}, CLAIM, {"readOnly": True}),
        ({"subPath": "a"}, CLAIM, {"subPath": "a", "readOnly": True}),
        ({"mountPropagation": "HostToContainer"}, {"hostPath": {"path": "/x"}}, {"readOnly": True}),
    ],
)
def test_what_is_mounted_there_already_is_used(mount: Any, source: Any, expected: Any) -> None:
    """Only what lives as long as the pod may be written to by the agent."""
    given = with_mount({"mountPath": "/tmp/crash", **mount}, source)
    made = shares(given)
    assert agent_mounts(made) == [{"name": "theirs", "mountPath": "/tmp/crash", **expected}]
    assert container_in(made)["volumeMounts"] == given["spec"]["containers"][0]["volumeMounts"]
    assert next(one["name"] for one in made.pod["spec"]["volumes"]) == "theirs"
    assert "fodc-shared-crash" not in [one["name"] for one in made.pod["spec"]["volumes"]]
    assert made.note == ""


@pytest.mark.parametrize("variable", ["POD_NAME", "POD_UID"])
def test_an_expression_that_the_agent_can_expand_is_used(variable: str) -> None:
    fields = {"POD_NAME": "metadata.name", "POD_UID": "metadata.uid"}
    env = [{"name": variable, "valueFrom": {"fieldRef": {"fieldPath": fields[variable]}}}]
    mount = {"mountPath": "/tmp/crash", "subPathExpr": f"$({variable})/x"}
    made = shares(with_mount(mount, CLAIM, env=env))
    assert agent_mounts(made) == [
        {
            "name": "theirs",
            "mountPath": "/tmp/crash",
            "subPathExpr": f"$({variable})/x",
            "readOnly": True,
        }
    ]


@pytest.mark.parametrize(
    "env",
    [
        [],
        [{"name": "POD_NAME", "value": "other"}],
        [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
    ],
)
def test_an_expression_that_the_agent_cannot_expand_keeps_the_directory_out(env: Any) -> None:
    """The kubelet would not make the agent's container."""
    mount = {"mountPath": "/tmp/crash", "subPathExpr": "$(POD_NAME)/x"}
    made = shares(with_mount(mount, CLAIM, env=env))
    assert agent_mounts(made) == []
    assert made.note == (
        "the directory crash is not shared: its volume is mounted with subPathExpr and the "
        "variable POD_NAME, which the agent does not have; give sharedDirectories another mountPath"
    )
    assert made.pod["metadata"]["annotations"][marks.NOTE] == made.note


@pytest.mark.parametrize(
    ("mount", "source", "why"),
    [
        (
            {"mountPath": "/tmp"},
            CLAIM,
            "/tmp/crash lies in the volume theirs, whose content a mount would hide",
        ),
        (
            {"mountPath": "/tmp", "readOnly": True},
            EMPTY,
            "/tmp/crash lies in the volume theirs, whose content a mount would hide",
        ),
        (
            {"mountPath": "/tmp/crash/deep"},
            EMPTY,
            "the volume theirs is mounted below /tmp/crash",
        ),
    ],
)
def test_nothing_is_hidden(mount: Any, source: Any, why: str) -> None:
    given = with_mount(mount, source)
    made = shares(given)
    assert made.note == (
        f"the directory crash is not shared: {why}; give sharedDirectories another mountPath"
    )
    assert container_in(made) == given["spec"]["containers"][0]


def test_a_volume_of_the_directorys_name_that_is_mounted_elsewhere_is_left_alone() -> None:
    given = pod(volumes=[{"name": "fodc-shared-crash", **CLAIM}], securityContext=USER)
    made = shares(given)
    assert made.note == (
        "the directory crash is not shared: the pod has another volume fodc-shared-crash; rename "
        "it or the directory"
    )


def test_two_directories_at_one_place_are_one_volume() -> None:
    """The database keeps crashes where another directory is shared."""
    env = [{"name": DIRECTORY, "value": "/dumps"}]
    made = shares(pod(db=database(env=env)), {"name": "dumps", "mountPath": "/dumps"}, crash())
    mount = {"name": "fodc-shared-dumps", "mountPath": "/dumps"}
    assert container_in(made)["volumeMounts"] == [mount]
    assert arguments(made)["crash-source-dir"] == "/dumps"
    places = [one["mountPath"] for one in agent_mounts(made)]
    assert places == ["/dumps"]


# ---- what the database is told already --------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        {"env": [{"name": DIRECTORY, "value": "/crashes/"}]},
        {"args": ["data", "--panic-diagnostics-dir=/crashes"]},
        {"args": ["data", "--panic-diagnostics-dir", "/crashes"]},
    ],
)
def test_crashes_are_shared_where_the_database_keeps_them(told: Any) -> None:
    made = shares(pod(db=database(securityContext=USER, **told)))
    assert arguments(made)["crash-source-dir"] == "/crashes"
    names = [one["name"] for one in container_in(made).get("env", [])]
    assert names.count(DIRECTORY) == (1 if "env" in told else 0)
    assert names.count(ENABLED) == 1
    assert agent_mounts(made) == [{"name": "fodc-shared-crash", "mountPath": "/crashes"}]


@pytest.mark.parametrize(
    "source",
    [
        {"value": "relative"},
        {"value": "/etc"},
        {"value": "/var/lib/fodc/crash"},
        {"value": "$(HOME)/crash"},
        {"value": ""},
        {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
    ],
)
def test_crashes_are_not_shared_where_that_cannot_be(source: Any) -> None:
    given = pod(db=database(env=[{"name": DIRECTORY, **source}], securityContext=USER))
    made = shares(given)
    assert made.note == (
        f"the directory crash is not shared: {DIRECTORY} of the database container is no directory "
        "to share"
    )
    assert container_in(made) == given["spec"]["containers"][0]
    assert "crash-source-dir" not in arguments(made)


@pytest.mark.parametrize(
    "told",
    [
        {"env": [{"name": ENABLED, "value": "false"}]},
        {"args": ["data", "--panic-diagnostics-enabled=false"]},
    ],
)
def test_a_database_that_records_no_crashes_is_left_so_and_told_of(told: Any) -> None:
    made = shares(pod(db=database(securityContext=USER, **told)))
    assert made.note == f"the database container's {ENABLED} is false, so no crash is recorded"
    values = [one.get("value") for one in container_in(made)["env"] if one["name"] == ENABLED]
    assert values in (["false"], [])


# ---- who may read -----------------------------------------------------------------------------


def test_a_user_that_nobody_tells_is_told_of() -> None:
    assert shares(pod()).note == (
        "the pod does not tell the user of the container banyandb, whose files may be closed to "
        "the agent; set securityContext.runAsUser and runAsGroup"
    )


def test_uid_0_without_its_rights_is_told_of() -> None:
    """DAC_OVERRIDE is not among the capabilities, so files of others stay closed to it."""
    given = pod(db=database(securityContext=USER))
    spec = {"flavor": "EBPF", "sharedDirectories": [crash()]}
    assert injected(given, namespace=PRIVILEGED, **spec).note == (
        "as UID 0 without its rights the agent reads only shared files that all may read"
    )
    root = pod(db=database(securityContext={"runAsUser": 0}))
    assert injected(root, namespace=PRIVILEGED, **spec).note == ""

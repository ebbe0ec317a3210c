# SPDX-License-Identifier: Apache-2.0
"""As whom the agent runs and with what rights, and that Pod Security admits it."""

from typing import Any

import pytest

from fodc_webhook.inject.flavors import ENFORCE, Granted, Level, granted, level_of
from fodc_webhook.resources.fodc_injection import Flavor
from tests.webhook.pods import PRIVILEGED, agent_in, database, injected, pod

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
NEEDS = f"flavor EBPF needs the namespace's label {ENFORCE}: privileged"
NO_SHARING = "the pod's shareProcessNamespace is false, so no process is seen"


def security(given: Any, **more: Any) -> Any:
    return agent_in(injected(given, **more))["securityContext"]


@pytest.mark.parametrize(
    ("own", "whole", "expected"),
    [
        ({}, {}, {"runAsNonRoot": True}),
        (
            {"runAsUser": 1000, "runAsGroup": 2000},
            {"runAsUser": 1, "runAsGroup": 2},
            {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 2000},
        ),
        (
            {"runAsUser": 1000},
            {"runAsGroup": 2},
            {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 2},
        ),
        ({}, {"runAsUser": 0}, {"runAsNonRoot": False, "runAsUser": 0}),
        (
            {"runAsUser": 0, "runAsGroup": 0},
            {"runAsUser": 1000},
            {"runAsNonRoot": False, "runAsUser": 0, "runAsGroup": 0},
        ),
        ({"runAsNonRoot": False}, {"runAsNonRoot": True}, {"runAsNonRoot": True}),
    ],
)
def test_the_agent_runs_as_the_database_does(own: Any, whole: Any, expected: Any) -> None:
    """Same UID and GID is what opens /proc of the database (kubernetes-kopf §4.4)."""
    given = pod(db=database(securityContext=own), securityContext=whole)
    assert security(given) == {**RESTRICTED, **expected}


@pytest.mark.parametrize("is_non_root", [True, False])
def test_for_the_kernel_the_agent_is_uid_0_with_exactly_what_it_needs(is_non_root: bool) -> None:
    """A user other than 0 would have no capability at all (kubernetes-kopf §4.4)."""
    whole = {"runAsUser": 1000, "runAsNonRoot": is_non_root}
    expected = {
        **RESTRICTED,
        "runAsUser": 0,
        "runAsGroup": 0,
        "runAsNonRoot": False,
        "capabilities": {"drop": ["ALL"], "add": ["BPF", "PERFMON"]},
    }
    given = pod(securityContext=whole)
    assert security(given, namespace=PRIVILEGED, flavor="EBPF") == expected
    expected["capabilities"] = {"drop": ["ALL"], "add": ["BPF", "PERFMON", "SYS_PTRACE"]}
    assert security(given, namespace=PRIVILEGED, flavor="EBPF", ptrace=True) == expected


@pytest.mark.parametrize(
    ("labels", "level"),
    [
        ({}, Level.BASELINE),
        ({ENFORCE: ""}, Level.BASELINE),
        ({ENFORCE: "privileged"}, Level.PRIVILEGED),
        ({ENFORCE: "baseline"}, Level.BASELINE),
        ({ENFORCE: "restricted"}, Level.RESTRICTED),
        ({ENFORCE: "Privileged"}, Level.RESTRICTED),
        ({"pod-security.kubernetes.io/warn": "privileged"}, Level.BASELINE),
    ],
)
def test_a_namespace_says_its_level(labels: Any, level: Level) -> None:
    assert level_of(labels) is level


@pytest.mark.parametrize(
    ("wanted", "spec", "labels", "expected"),
    [
        ("Basic", {}, {}, Granted(Flavor.BASIC, shares_processes=False)),
        ("Basic", {"shareProcessNamespace": False}, {}, Granted(Flavor.BASIC, False)),
        ("Process", {}, {ENFORCE: "restricted"}, Granted(Flavor.PROCESS, shares_processes=True)),
        ("Process", {"hostPID": True}, PRIVILEGED, Granted(Flavor.PROCESS, shares_processes=False)),
        (
            "Process",
            {"shareProcessNamespace": False},
            PRIVILEGED,
            Granted(Flavor.BASIC, False, f"{NO_SHARING}; the agent has flavor Basic"),
        ),
        (
            "Process",
            {"hostPID": True, "shareProcessNamespace": False},
            PRIVILEGED,
            Granted(Flavor.PROCESS, shares_processes=False),
        ),
        ("EBPF", {}, PRIVILEGED, Granted(Flavor.EBPF, shares_processes=True)),
        ("EBPF", {"hostPID": True}, PRIVILEGED, Granted(Flavor.EBPF, shares_processes=False)),
        (
            "EBPF",
            {"shareProcessNamespace": False},
            PRIVILEGED,
            Granted(Flavor.EBPF, False, f"{NO_SHARING}; the agent has flavor EBPF"),
        ),
        (
            "EBPF",
            {"hostUsers": False},
            PRIVILEGED,
            Granted(
                Flavor.PROCESS,
                True,
                "flavor EBPF needs the host's users, and the pod's hostUsers is false; the agent "
                "has flavor Process",
            ),
        ),
        (
            "EBPF",
            {},
            {ENFORCE: "baseline"},
            Granted(
                Flavor.PROCESS, True, f"{NEEDS}, and it is baseline; the agent has flavor Process"
            ),
        ),
        (
            "EBPF",
            {},
            {},
            Granted(
                Flavor.PROCESS, True, f"{NEEDS}, and it is absent; the agent has flavor Process"
            ),
        ),
        (
            "EBPF",
            {"shareProcessNamespace": False},
            {},
            Granted(
                Flavor.BASIC,
                False,
                f"{NEEDS}, and it is absent; {NO_SHARING}; the agent has flavor Basic",
            ),
        ),
    ],
)
def test_no_more_is_given_than_namespace_and_pod_admit(
    wanted: str, spec: Any, labels: Any, expected: Granted
) -> None:
    assert granted(Flavor(wanted), pod(**spec), labels) == expected


# ---- what Pod Security looks at ---------------------------------------------------------------


def complaints(made: Any, level: Level) -> list[str]:
    """What Pod Security 1.34 would say against the agent's container and volumes."""
    found, agent = [], agent_in(made)
    context = agent["securityContext"]
    added = set(context["capabilities"].get("add", []))
    sources = {
        key
        for one in made.pod["spec"]["volumes"]
        if one["name"].startswith("fodc-")
        for key in one
        if key != "name"
    }
    if level is not Level.PRIVILEGED:
        found += [f"capability {one}" for one in sorted(added)]
        found += ["hostPath"] if "hostPath" in sources else []
        found += ["hostPort"] if any("hostPort" in one for one in agent.get("ports", [])) else []
        found += ["privileged"] if context.get("privileged") else []
    if level is Level.RESTRICTED:
        found += sorted(sources - {"emptyDir", "projected", "secret"})
        checks = {
            "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
            "runAsNonRoot": context.get("runAsNonRoot") is True,
            "runAsUser": context.get("runAsUser") != 0,
            "drop": context["capabilities"]["drop"] == ["ALL"],
            "seccomp": context["seccompProfile"]["type"] == "RuntimeDefault",
        }
        found += [name for name, is_fine in checks.items() if not is_fine]
    return found


@pytest.mark.parametrize("flavor", list(Flavor))
@pytest.mark.parametrize("level", [None, *Level])
@pytest.mark.parametrize("mode", ["NativeSidecar", "Container"])
def test_pod_security_has_nothing_against_it(
    flavor: Flavor, level: Level | None, mode: str
) -> None:
    """P13; the level baseline stands for a namespace that says none."""
    labels = {ENFORCE: str(level)} if level else {}
    given = pod(db=database(securityContext={"runAsUser": 1000}))
    agent = {"tlsSecretName": "tls"}
    shared = [{"name": "crash", "mountPath": "/tmp/crash"}]
    made = injected(
        given, namespace=labels, flavor=flavor, mode=mode, agent=agent, sharedDirectories=shared
    )
    assert complaints(made, level or Level.BASELINE) == []


# ---- what the agent has and has not -----------------------------------------------------------


def test_the_agent_has_a_token_for_the_proxy_and_none_for_the_api_server() -> None:
    made = injected(pod())
    assert agent_in(made)["volumeMounts"][1] == {
        "name": "fodc-agent-token",
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        "readOnly": True,
    }
    assert made.pod["spec"]["volumes"][1] == {
        "name": "fodc-agent-token",
        "projected": {
            "sources": [
                {
                    "serviceAccountToken": {
                        "audience": "fodc-proxy",
                        "expirationSeconds": 3600,
                        "path": "token",
                    }
                }
            ]
        },
    }


def test_a_secret_that_is_missing_does_not_hold_up_the_pod() -> None:
    made = injected(pod(), agent={"tlsSecretName": "tls"})
    assert made.pod["spec"]["volumes"][2] == {
        "name": "fodc-agent-tls",
        "secret": {"secretName": "tls", "optional": True},
    }


def test_the_agent_has_no_probe_that_others_wait_for() -> None:
    """P22: its readiness would be the pod's, and its start would gate the database."""
    agent = agent_in(injected(pod()))
    assert {name for name in agent if name.endswith("Probe")} == {"livenessProbe"}
    assert "lifecycle" not in agent


@pytest.mark.parametrize("mesh", ["istio-proxy", "linkerd-proxy"])
@pytest.mark.parametrize("place", ["containers", "initContainers"])
def test_a_mesh_that_takes_all_traffic_leaves_no_probe(mesh: str, place: str) -> None:
    """The kubelet has no certificate of the mesh: the probe would kill a healthy agent."""
    proxy = {"name": mesh, "image": "mesh:1"}
    given = pod(proxy) if place == "containers" else pod(initContainers=[proxy])
    assert "livenessProbe" not in agent_in(injected(given))

# SPDX-License-Identifier: Apache-2.0
"""A FodcInjection read: complete with defaults, errors with the path of the field."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fodc_protocol.fields import FieldError
from fodc_webhook.resources.fodc_injection import (
    AgentTemplate,
    Defaults,
    Flavor,
    Mode,
    OnAgentFailure,
    OnError,
    Policy,
    PullPolicy,
    SharedDirectory,
    policy_of,
)
from fodc_webhook.resources.label_selector import LabelOperator, LabelSelector, Requirement

CRDS = Path(__file__).resolve().parents[2] / "crds"
DEFAULTS = Defaults("agent:1", "proxy:17912")
SELECTOR = {"matchLabels": {"app": "db"}}
SELECTED = LabelSelector((Requirement("app", LabelOperator.IN, ("db",)),))
MIB = 1024 * 1024


def read(**spec: Any) -> Policy:
    metadata = {"namespace": "ns", "name": "db", "uid": "u-1", "generation": 3}
    return policy_of({"metadata": metadata, "spec": {"podSelector": SELECTOR, **spec}}, DEFAULTS)


def test_what_is_not_said_comes_from_the_operator() -> None:
    assert read() == Policy(
        namespace="ns",
        name="db",
        uid="u-1",
        generation=3,
        pod_selector=SELECTED,
        cluster="db",
        agent=AgentTemplate("agent:1", "proxy:17912"),
    )


def test_everything_that_can_be_said_of_the_agent_is_read() -> None:
    image = "registry.example.com:5000/a/agent:2@sha256:" + "0" * 64
    found = read(
        agent={
            "image": image,
            "imagePullPolicy": "Always",
            "proxyAddress": "[fd00::1]:17912",
            "resources": {
                "requests": {"cpu": "0.05", "memory": "64Mi"},
                "limits": {"cpu": "1", "memory": "128M"},
            },
            "captureQuota": "1Gi",
            "windowSize": "64Mi",
            "logLevel": "Debug",
            "tlsSecretName": "tls",
        }
    )
    assert found.agent == AgentTemplate(
        image=image,
        proxy_address="[fd00::1]:17912",
        image_pull_policy=PullPolicy.ALWAYS,
        requests={"cpu": "0.05", "memory": "64Mi"},
        limits={"cpu": "1", "memory": "128M"},
        capture_quota_bytes=1024 * MIB,
        window_bytes=64 * MIB,
        log_level="Debug",
        tls_secret="tls",
    )


def test_everything_else_that_can_be_said_is_read() -> None:
    found = read(
        cluster="prod",
        mode="Container",
        flavor="EBPF",
        ptrace=True,
        databaseContainer="data",
        pprofPort=6061,
        sharedDirectories=[
            {"name": "crash", "mountPath": "/tmp/crash"},
            {"name": "more", "mountPath": "/more", "sizeLimit": "1Mi"},
        ],
        takeOver=True,
        onError="Deny",
        paused=True,
        onAgentFailure="Wait",
        attachRemotely=True,
    )
    assert found == replace(
        read(),
        cluster="prod",
        mode=Mode.CONTAINER,
        flavor=Flavor.EBPF,
        ptrace=True,
        database_container="data",
        pprof_port=6061,
        shared_directories=(
            SharedDirectory("crash", "/tmp/crash", 256 * MIB),
            SharedDirectory("more", "/more", MIB),
        ),
        take_over=True,
        on_error=OnError.DENY,
        paused=True,
        on_agent_failure=OnAgentFailure.WAIT,
        attach_remotely=True,
    )


@pytest.mark.parametrize(
    "path",
    sorted(CRDS.glob("examples/*/fodcinjection.yaml")),
    ids=lambda path: path.parent.name,
)
def test_every_example_can_be_read(path: Path) -> None:
    body = yaml.safe_load(path.read_text())
    body["metadata"]["namespace"] = "ns"
    assert policy_of(body, DEFAULTS).name == body["metadata"]["name"]


def test_what_is_not_said_has_the_defaults_of_the_schema() -> None:
    crd = yaml.safe_load((CRDS / "fodcinjections.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    told = defaults_of(spec)
    assert told["agent"]["resources"] == {
        "requests": {"cpu": "20m", "memory": "48Mi"},
        "limits": {"cpu": "500m", "memory": "96Mi"},
    }
    assert read(**told) == read()


def defaults_of(schema: Any) -> Any:
    """The object that the API server makes of an empty one."""
    if "properties" not in schema:
        return schema["default"]
    inner = {
        name: defaults_of(one) for name, one in schema["properties"].items() if "default" in one
    }
    return {**schema.get("default", {}), **inner}


def test_a_request_that_nobody_asked_for_gives_way_to_the_limit() -> None:
    agent = read(agent={"resources": {"limits": {"cpu": "20m", "memory": "48Mi"}}}).agent
    assert agent.requests == {"cpu": "20m", "memory": "48Mi"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"unknown": 1}, "spec.unknown is unknown; has: podSelector, cluster, agent"),
        (
            {"podSelector": {}},
            (
                "spec.podSelector is empty and would match every pod of the namespace; give "
                "matchLabels or matchExpressions"
            ),
        ),
        ({"podSelector": None}, "spec.podSelector is empty"),
        ({"podSelector": {"matchLabels": {}, "matchExpressions": []}}, "spec.podSelector is empty"),
        ({"podSelector": {"matchLabels": {"a": 1}}}, "spec.podSelector.matchLabels.a must be"),
        ({"cluster": "a b"}, "spec.cluster must be a value of a label"),
        ({"mode": "Sidecar"}, "spec.mode must be one of Auto, NativeSidecar, Container"),
        ({"flavor": "all"}, "spec.flavor must be one of Basic, Process, EBPF"),
        ({"ptrace": True}, "spec.ptrace is only for flavor EBPF, not for Basic"),
        ({"databaseContainer": "A"}, "spec.databaseContainer must be the name of a container"),
        (
            {"databaseContainer": "fodc-agent"},
            "spec.databaseContainer fodc-agent is the name of the agent's own container",
        ),
        ({"pprofPort": 0}, "spec.pprofPort must be a whole number from 1 to 65535, got 0"),
        ({"onError": "Fail"}, "spec.onError must be one of Admit, Deny"),
        (
            {"onAgentFailure": "Kill"},
            "spec.onAgentFailure must be one of Release, Wait",
        ),
        (
            {"agent": {"imagePullSecrets": [{"name": "No Name"}]}},
            "spec.agent.imagePullSecrets[0].name must be the name of a Secret",
        ),
        ({"agent": {"image": "a b"}}, "spec.agent.image must be a reference of an image"),
        ({"agent": {"image": "Agent:1"}}, "spec.agent.image must be a reference of an image"),
        ({"agent": {"proxyAddress": "proxy"}}, "spec.agent.proxyAddress must be host:port"),
        ({"agent": {"proxyAddress": "p:65536"}}, "spec.agent.proxyAddress must be host:port"),
        ({"agent": {"imagePullPolicy": "No"}}, "spec.agent.imagePullPolicy must be one of Always"),
        ({"agent": {"logLevel": "warn"}}, "spec.agent.logLevel must be one of Debug, Info"),
        ({"agent": {"tlsSecretName": "A"}}, "spec.agent.tlsSecretName must be the name of a"),
        ({"agent": {"captureQuota": "63Mi"}}, "spec.agent.captureQuota must be a whole number"),
        ({"agent": {"captureQuota": "100m"}}, "spec.agent.captureQuota must be a whole number"),
        ({"agent": {"windowSize": "2Gi"}}, "spec.agent.windowSize must be a whole number"),
        (
            {"agent": {"resources": {"requests": {"gpu": "1"}}}},
            "spec.agent.resources.requests.gpu is unknown; has: cpu, memory",
        ),
        (
            {"agent": {"resources": {"limits": {"memory": "47Mi"}}}},
            "spec.agent.resources.limits.memory must be a quantity from 48Mi to 4Gi, got '47Mi'",
        ),
        (
            {"agent": {"resources": {"requests": {"cpu": "1"}}}},
            "spec.agent.resources.requests.cpu 1 is more than the limit, 500m",
        ),
        (
            {"agent": {"resources": {"limits": {"cpu": "half"}}}},
            "spec.agent.resources.limits.cpu must be a quantity from 20m to 4, got 'half'",
        ),
    ],
)
def test_a_wrong_field_is_named(spec: Any, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        read(**spec)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "relative", "/a/../b", "/a/./b", "/a/", "/a//b", "/a:b", "/$(X)"),
        *("/tmp", "/etc", "/usr", "/var/lib", "/proc", "/proc/1", "/sys/x", "/dev/shm", "/run/x"),
        *("/var/run/secrets", "/var/lib/fodc", "/var/lib/fodc/x", "/opt/fodc/bin"),
    ],
)
def test_a_directory_that_would_hide_something_is_refused(path: str) -> None:
    with pytest.raises(FieldError, match=r"^spec.sharedDirectories\[0\].mountPath must be an abs"):
        read(sharedDirectories=[{"name": "a", "mountPath": path}])


@pytest.mark.parametrize("path", ["/tmp/crash", "/var/lib/fodc-x", "/a/..b", "/etc/x", "/data"])
def test_another_directory_is_fine(path: str) -> None:
    found = read(sharedDirectories=[{"name": "a", "mountPath": path}])
    assert found.shared_directories[0].mount_path == path


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"name": "a", "mountPath": "/b"}, "spec.sharedDirectories[1].name a is there twice"),
        ({"name": "b", "mountPath": "/a"}, "spec.sharedDirectories[1].mountPath /a is there twice"),
        ({"name": "B", "mountPath": "/b"}, "spec.sharedDirectories[1].name must be a-z, 0-9"),
    ],
)
def test_directories_are_there_once(second: Any, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        read(sharedDirectories=[{"name": "a", "mountPath": "/a"}, second])
    assert caught.value.message.startswith(message)


def test_quantities_may_be_whole_numbers() -> None:
    """K10: `limits: {cpu: 1}` was refused."""
    agent = {"resources": {"limits": {"cpu": 1, "memory": 134217728}}, "windowSize": 8388608}
    found = read(agent=agent).agent

    assert (found.limits, found.window_bytes) == ({"cpu": "1", "memory": "134217728"}, 8388608)
    with pytest.raises(FieldError, match=r"limits\.cpu must be a quantity from 20m to 4"):
        read(agent={"resources": {"limits": {"cpu": 5}}})

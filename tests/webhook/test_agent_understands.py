# SPDX-License-Identifier: Apache-2.0
"""The agent takes every argument that the injection gives it, and means the same by it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from fodc_agent.settings import Settings, load
from fodc_webhook.inject.inject import inject
from fodc_webhook.inject.outcome import Outcome
from fodc_webhook.resources.fodc_injection import AgentTemplate, Policy
from tests.webhook.generated_pods import pods, policies
from tests.webhook.pods import (
    PRIVILEGED,
    SERVER,
    agent_in,
    crash,
    database,
    injected,
    pod,
    policy,
)

DATA = Path(__file__).parent / "data"
ENVIRON = {"POD_NAME": "p-0", "POD_NAMESPACE": "ns", "POD_UID": "u-1", "POD_IP": "10.0.0.1"}
LIFECYCLE = {"name": "lifecycle", "image": "x", "command": ["/lifecycle"]}
EVERYTHING: dict[str, Any] = {
    "cluster": "prod",
    "flavor": "EBPF",
    "sharedDirectories": [crash()],
    "agent": {"tlsSecretName": "tls", "logLevel": "Debug", "captureQuota": "1Gi"},
}


def loaded(made: Any) -> Settings:
    return load(agent_in(made)["args"], ENVIRON)


def test_the_agent_understands_what_it_is_told() -> None:
    labels = {"env": [{"name": "BYDB_NODE_LABELS", "value": "type=warm"}]}
    given_ = pod(LIFECYCLE, db=database(**labels))
    told = loaded(injected(given_, namespace=PRIVILEGED, **EVERYTHING))
    assert (told.cluster, told.node_role, told.node_labels) == (
        "prod",
        "ROLE_DATA",
        {"type": "warm"},
    )
    assert told.container_names == ("banyandb", "lifecycle")
    assert told.metrics_ports == (2121, 17_915)
    assert told.cluster_state_ports == (17_912, 17_914)
    assert (told.pprof_ports, told.node_container) == ((6060,), "banyandb")
    assert (told.attachment, told.flavor, told.log_level) == ("sidecar", "ebpf", "debug")
    assert told.proxy_endpoints == (("fodc-proxy-grpc.fodc-system.svc", 17_912),)
    assert told.capture_quota_bytes == 1024**3
    assert (told.listen.host, told.listen.port) == ("", 9090)
    assert told.proxy_token_file == Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    assert told.proxy_tls is not None
    assert told.proxy_tls.ca_file == "/var/run/secrets/fodc-tls/ca.crt"


@pytest.mark.parametrize("path", sorted(DATA.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_agent_starts_with_the_arguments_of_every_shape(path: Path) -> None:
    shape = yaml.safe_load(path.read_text())
    if shape["expected"]["outcome"] == Outcome.INJECTED:
        load(agent_in(shape["expected"]["pod"])["args"], ENVIRON)


@settings(max_examples=40)
@given(pods(), policies())
def test_the_agent_starts_with_whatever_it_is_told(given_: Any, chosen: Policy) -> None:
    made = inject(given_, chosen, SERVER, PRIVILEGED)
    agent = agent_in(made) if made.outcome is Outcome.INJECTED else {}
    if agent.get("image", "").startswith("banyandb-fodc-agent"):
        load(agent["args"], ENVIRON)


def test_a_quota_below_one_capture_bounds_the_capture() -> None:
    """The agent refuses a quota that is less than one capture may have."""
    base = policy()
    agent = AgentTemplate("agent:1", "proxy:1", capture_quota_bytes=1_000_000)
    small = Policy("ns", "n", "", 1, base.pod_selector, "c", agent)
    told = loaded(inject(pod(), small, SERVER, {}))
    assert (told.capture_quota_bytes, told.capture_max_bytes) == (1_000_000, 1_000_000)


def test_a_dollar_is_not_expanded_by_the_kubelet() -> None:
    base = policy()
    agent = AgentTemplate("agent:1", "proxy:1")
    odd = Policy("ns", "n", "", 1, base.pod_selector, "$(POD_IP)", agent)
    assert "--cluster=$$(POD_IP)" in agent_in(inject(pod(), odd, SERVER, {}))["args"]

# SPDX-License-Identifier: Apache-2.0
"""The revision says what is put into pods: equal for what is equal, else another."""

import re
from typing import Any

import pytest

from fodc_webhook.inject.revision import revision_of
from tests.webhook.pods import crash, policy

PLAIN = policy()


def test_a_revision_is_ten_hex_digits_and_the_same_each_time() -> None:
    assert re.fullmatch(r"[0-9a-f]{10}", revision_of(PLAIN))
    assert revision_of(policy()) == revision_of(PLAIN)


@pytest.mark.parametrize(
    "spec",
    [
        {"cluster": "other"},
        {"mode": "Container"},
        {"flavor": "Process"},
        {"databaseContainer": "x"},
        {"pprofPort": 6061},
        {"sharedDirectories": [crash()]},
        {"agent": {"image": "agent:2"}},
        {"agent": {"imagePullPolicy": "Always"}},
        {"agent": {"proxyAddress": "proxy:1"}},
        {"agent": {"resources": {"limits": {"memory": "128Mi"}}}},
        {"agent": {"resources": {"requests": {"cpu": "30m"}}}},
        {"agent": {"captureQuota": "1Gi"}},
        {"agent": {"windowSize": "64Mi"}},
        {"agent": {"logLevel": "Debug"}},
        {"agent": {"tlsSecretName": "tls"}},
    ],
)
def test_whatever_goes_into_a_pod_makes_another_revision(spec: Any) -> None:
    assert revision_of(policy(**spec)) != revision_of(PLAIN)


def test_the_right_to_trace_makes_another_revision() -> None:
    assert revision_of(policy(flavor="EBPF", ptrace=True)) != revision_of(policy(flavor="EBPF"))


@pytest.mark.parametrize(
    "spec",
    [
        {"paused": True},
        {"onError": "Deny"},
        {"takeOver": True},
        {"onAgentFailure": "Wait"},
        {"podSelector": {"matchLabels": {"other": "1"}}},
        {"flavor": "Basic", "mode": "Auto"},
    ],
)
def test_what_does_not_go_into_a_pod_leaves_the_revision(spec: Any) -> None:
    assert revision_of(policy(**spec)) == revision_of(PLAIN)

# SPDX-License-Identifier: Apache-2.0
"""Whether the Secrets that pull the agent's image exist, and what is said where nobody may look."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from fodc_kube.client import Cluster
from fodc_kube.errors import ForbiddenError, UnavailableError
from fodc_kube.kinds import SECRET, Kind
from fodc_operator.policies.pull_secrets import CONDITION
from fodc_operator.policies.secret_looks import PullSecrets
from fodc_webhook.resources.fodc_injection import policy_of
from tests.webhook.pods import DEFAULTS

MISSING = (
    "no Secret registry in namespace banyandb (spec.agent.imagePullSecrets): make it, or an image "
    "that needs it cannot be pulled"
)
NOT_ALLOWED = (
    "the operator may not look for Secret registry: add the component pull-secrets of the "
    "manifests, or let it get Secrets of these names"
)


@dataclass
class FakeCluster:
    """Says what exists, or raises; counts how often it was asked."""

    there: set[str] = field(default_factory=set)
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def exists(self, kind: Kind, namespace: str, name: str) -> bool:
        assert (kind, namespace) == (SECRET, "banyandb")
        self.asked.append(name)
        if self.error is not None:
            raise self.error
        return name in self.there


def look(cluster: FakeCluster, *names: str, at_ms: tuple[int, ...] = (0,)) -> tuple[str, ...]:
    """Look at each of these times; return status, reason and message of the last."""
    agent: dict[str, Any] = {"imagePullSecrets": [{"name": name} for name in names]}
    spec = {"podSelector": {"matchLabels": {"a": "b"}}, "agent": agent}
    body = {"metadata": {"name": "db", "namespace": "banyandb"}, "spec": spec}
    policy, secrets = policy_of(body, DEFAULTS), PullSecrets(cast("Cluster", cluster))

    async def run() -> tuple[str, ...]:
        found = [await secrets.condition(policy, now_ms) for now_ms in at_ms]
        assert found[-1].type == CONDITION
        return found[-1].status, found[-1].reason, found[-1].message

    return asyncio.run(run())


def test_a_policy_that_names_none_asks_nobody() -> None:
    cluster = FakeCluster()

    assert look(cluster)[:2] == ("True", "NoneNamed")
    assert cluster.asked == []


def test_a_secret_that_is_not_there_is_named_with_what_to_do() -> None:
    cluster = FakeCluster(there={"other"})

    assert look(cluster, "registry", "other") == ("False", "PullSecretMissing", MISSING)


def test_what_is_there_is_asked_for_once_a_minute_and_what_is_missing_soon_again() -> None:
    there, missing = FakeCluster(there={"registry"}), FakeCluster()

    assert look(there, "registry", at_ms=(0, 30_000, 61_000))[:2] == ("True", "Found")
    assert look(missing, "registry", at_ms=(0, 1_000, 5_000))[:2] == ("False", "PullSecretMissing")
    assert (len(there.asked), len(missing.asked)) == (2, 2)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ForbiddenError("get secrets: 403", status=403), ("Unknown", "NotAllowed", NOT_ALLOWED)),
        (
            UnavailableError("get secrets: given up"),
            (
                "Unknown",
                "NotAnswered",
                "the API server did not say whether Secret registry exists; it is asked again",
            ),
        ),
    ],
)
def test_what_nobody_could_see_is_unknown_and_not_missing(
    error: Exception, expected: tuple[str, ...]
) -> None:
    assert look(FakeCluster(error=error), "registry") == expected

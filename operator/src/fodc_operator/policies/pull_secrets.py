# SPDX-License-Identifier: Apache-2.0
"""Whether the Secrets exist with which a policy says that the agent's image is pulled.

The one idea: a name that is wrong is told when the policy is applied, not by a pod that waits. What
is in a Secret is never asked for, only its metadata; where the operator may not even do that, which
is so unless somebody granted it, the answer is that nobody looked.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fodc_kube.client import Cluster
from fodc_kube.conditions import Condition
from fodc_kube.errors import ClusterError, ForbiddenError
from fodc_kube.kinds import SECRET
from fodc_webhook.resources.fodc_injection import Policy

CONDITION: Final = "PullSecretsFound"
COMPONENT: Final = "pull-secrets"
"""The component of the manifests that lets the operator look."""
MISSING: Final = "PullSecretMissing"
_KEPT_MS: Final = 60_000
_SOON_MS: Final = 4_000
MOST_KEPT: Final = 1024


class Sight(StrEnum):
    """What looking for one Secret gave."""

    FOUND = "Found"
    MISSING = "Missing"
    FORBIDDEN = "Forbidden"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class _Seen:
    sight: Sight
    until_ms: int


class PullSecrets:
    """One per operator; asks the server for each name once in a while."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen: dict[tuple[str, str], _Seen] = {}

    async def condition(self, policy: Policy, now_ms: int) -> Condition:
        """Look for what a policy names; never raises."""
        names = policy.agent.image_pull_secrets
        sights = {name: await self._look(policy.namespace, name, now_ms) for name in names}
        return said_of(sights, policy.namespace)

    async def _look(self, namespace: str, name: str, now_ms: int) -> Sight:
        known = self._seen.get((namespace, name))
        if known is not None and now_ms < known.until_ms:
            return known.sight
        sight = await self._ask(namespace, name)
        if len(self._seen) >= MOST_KEPT:
            self._seen.clear()
        is_lasting = sight in {Sight.FOUND, Sight.FORBIDDEN}
        self._seen[namespace, name] = _Seen(sight, now_ms + (_KEPT_MS if is_lasting else _SOON_MS))
        return sight

    async def _ask(self, namespace: str, name: str) -> Sight:
        try:
            is_there = await self._cluster.exists(SECRET, namespace, name)
        except ForbiddenError:
            return Sight.FORBIDDEN
        except ClusterError:
            return Sight.FAILED
        return Sight.FOUND if is_there else Sight.MISSING


def said_of(sights: dict[str, Sight], namespace: str) -> Condition:
    """Return the condition that tells of the Secrets of a policy, by their names."""
    if not sights:
        return Condition(CONDITION, "True", "NoneNamed", "spec.agent.imagePullSecrets names none")
    if missing := _with(sights, Sight.MISSING):
        text = (
            f"no Secret {missing} in namespace {namespace} (spec.agent.imagePullSecrets): make it, "
            "or an image that needs it cannot be pulled"
        )
        return Condition(CONDITION, "False", MISSING, text)
    if unseen := _with(sights, Sight.FORBIDDEN):
        text = (
            f"the operator may not look for Secret {unseen}: add the component {COMPONENT} of the "
            "manifests, or let it get Secrets of these names"
        )
        return Condition(CONDITION, "Unknown", "NotAllowed", text)
    if failed := _with(sights, Sight.FAILED):
        text = f"the API server did not say whether Secret {failed} exists; it is asked again"
        return Condition(CONDITION, "Unknown", "NotAnswered", text)
    return Condition(CONDITION, "True", "Found", f"there is Secret {', '.join(sights)}")


def _with(sights: dict[str, Sight], sight: Sight) -> str:
    return ", ".join(name for name, one in sights.items() if one is sight)

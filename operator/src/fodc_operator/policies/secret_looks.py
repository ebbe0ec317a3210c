# SPDX-License-Identifier: Apache-2.0
"""Looks for the Secrets with which policies want the agent's image pulled.

The one idea: what is in a Secret is never asked for, only its metadata. The operator may not even
do that unless somebody granted it, which is an answer of its own.
"""

from dataclasses import dataclass
from typing import Final

from fodc_kube.client import Cluster
from fodc_kube.conditions import Condition
from fodc_kube.errors import ClusterError, ForbiddenError
from fodc_kube.kinds import SECRET
from fodc_operator.policies.pull_secrets import Sight, said_of
from fodc_webhook.resources.fodc_injection import Policy

_KEPT_MS: Final = 60_000
_SOON_MS: Final = 4_000
_MOST_KEPT: Final = 1024


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
        if len(self._seen) >= _MOST_KEPT:
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

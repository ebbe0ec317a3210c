# SPDX-License-Identifier: Apache-2.0
"""What the API server knows of the pods of nodes: looked up once per pod, and kept."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, Object
from fodc_kube.errors import ClusterError
from fodc_operator.mirror.budget import Key
from fodc_operator.mirror.translate import PodFacts
from fodc_webhook.inject.pod_reading import has_agent

AGAIN_S: Final = 300.0
"""After so long a pod that was not found is looked for again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    facts: PodFacts
    pod_uid: str
    until_s: float


@dataclass(slots=True)
class Pods:
    """A cache by node; a node that is forgotten leaves it."""

    cluster: Cluster
    clock_s: Callable[[], float] = time.monotonic
    _kept: dict[Key, _Kept] = field(default_factory=dict)

    async def facts(self, key: Key, pod_uid: str) -> PodFacts:
        """Return what is known of the pod; nothing for one that is no pod, or cannot be read."""
        kept = self._kept.get(key)
        if kept is not None and kept.pod_uid == pod_uid and self.clock_s() < kept.until_s:
            return kept.facts
        facts = await self._look_up(key)
        found = facts.uid and pod_uid in {"", facts.uid}
        until_s = float("inf") if found else self.clock_s() + AGAIN_S
        self._kept[key] = _Kept(facts, pod_uid, until_s)
        return facts

    def forget(self, key: Key) -> None:
        """The node has left."""
        self._kept.pop(key, None)

    async def _look_up(self, key: Key) -> PodFacts:
        try:
            pod = await self.cluster.get(kinds.POD, *key)
        except ClusterError as error:
            _log.warning("pod %s/%s cannot be read: %s", *key, error.message)
            return PodFacts()
        return PodFacts() if pod is None else facts_of(pod)


def facts_of(pod: Object) -> PodFacts:
    """Read a pod; its owner is the StatefulSet that made it, so that history outlives the pod."""
    meta = pod["metadata"]
    owners = meta.get("ownerReferences") or ()
    owner = next((_reference(one) for one in owners if one.get("kind") == "StatefulSet"), None)
    node = (pod.get("spec") or {}).get("nodeName") or ""
    return PodFacts(str(meta.get("uid", "")), str(node), owner, has_agent=has_agent(pod))


def _reference(owner: Object) -> dict[str, Any]:
    return {name: owner[name] for name in ("apiVersion", "kind", "name", "uid")}

# SPDX-License-Identifier: Apache-2.0
"""Asks the API server to evict a pod, which a PodDisruptionBudget may refuse."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, EventType
from fodc_kube.errors import ClusterError, ConflictError, ForbiddenError, NotFoundError
from fodc_operator.injection.evictions import Eviction, Memory, body_of, evicted
from fodc_operator.injection.outcome import Pod

DEADLINE_S: Final = 2.0
BUDGET_PAUSE_MS: Final = 15_000
"""After a refusal by a PodDisruptionBudget the next attempt waits so long."""
FAULT_PAUSE_MS: Final = 60_000
_log = logging.getLogger(__name__)


class Evictor:
    """Evicts what was decided; `outcomes` counts by reason and outcome."""

    def __init__(self, cluster: Cluster, outcomes: Counter[tuple[str, str]]) -> None:
        self._cluster = cluster
        self._outcomes = outcomes

    async def evict(
        self, todo: Eviction, pods: Sequence[Pod], memory: Memory, clock_ms: Callable[[], int]
    ) -> int:
        """Return when the server took the eviction, 0 when it did not; never raises."""
        entry, why = todo.entry, "missing" if todo.entry.is_missing else "stuck"
        key = (str(entry.pod["metadata"]["namespace"]), entry.name)
        try:
            await self._cluster.create_part(
                kinds.POD, *key, "eviction", body_of(entry), deadline_s=DEADLINE_S
            )
        except (NotFoundError, ConflictError):
            # It went by itself, or another pod has its name by now.
            self._outcomes[why, "gone"] += 1
            return 0
        except ClusterError as error:
            self._outcomes[why, "budget" if error.status == 429 else "failed"] += 1
            self._refused(entry.name, error, memory, clock_ms())
            return 0
        now_ms = clock_ms()
        self._outcomes[why, "evicted"] += 1
        memory.note_eviction(evicted(entry, pods, now_ms), now_ms)
        _log.info("pod %s/%s evicted: %s", *key, todo.why)
        await self._tell(todo)
        return now_ms

    @staticmethod
    def _refused(name: str, error: ClusterError, memory: Memory, now_ms: int) -> None:
        if error.status == 429:
            memory.refuse(f"{name}: a PodDisruptionBudget forbids it", now_ms + BUDGET_PAUSE_MS)
            return
        _log.warning("pod %s is not evicted: %s", name, error.message)
        hint = "; the operator lacks the right" if isinstance(error, ForbiddenError) else ""
        memory.refuse(f"{name}: {error.message}{hint}", now_ms + FAULT_PAUSE_MS)

    async def _tell(self, todo: Eviction) -> None:
        try:
            text = f"FODC evicted the pod: {todo.why}"
            await self._cluster.event(todo.entry.pod, EventType.NORMAL, "Evicted", text)
        except ClusterError as error:
            _log.warning("event on pod %s is lost: %s", todo.entry.name, error.message)

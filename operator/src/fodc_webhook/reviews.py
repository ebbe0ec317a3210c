# SPDX-License-Identifier: Apache-2.0
"""From a review to its decision: by memory, and once more after a look where memory is behind."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from fodc_kube import kinds
from fodc_kube.conditions import Happened
from fodc_kube.events import reference
from fodc_webhook.decide import (
    Decider,
    Decision,
    View,
    decision_of,
    fault_of_ours,
    is_memory_behind,
)
from fodc_webhook.inject.outcome import Injection
from fodc_webhook.kinds import FODC_INJECTION
from fodc_webhook.memory import Memory
from fodc_webhook.resources.fodc_injection import Policy
from fodc_webhook.review import Review

_log = logging.getLogger(__name__)
Tell: TypeAlias = Callable[[Mapping[str, Any], Happened], None]


class Reviews:
    """Decides about pods; belongs to the main loop."""

    def __init__(
        self,
        memory: Memory,
        tell: Tell,
        *,
        decider: Decider | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory = memory
        self._tell = tell
        self._decider = decider or Decider()
        self._clock_s = clock_s

    async def decide(self, review: Review) -> Decision:
        """Return what is answered; never raises, whatever of ours fails."""
        try:
            decision = decision_of(review, *await self._made(review))
        except Exception:  # noqa: BLE001 - said on the pod, in the log and in an Event
            _log.exception("no agent for pod %s in %s", review.name, review.namespace)
            decision = fault_of_ours(review)
        if decision.happened is not None:
            self._tell(about(review.namespace, decision.policy), decision.happened)
        return decision

    async def _made(self, review: Review) -> tuple[View, Injection]:
        view = self._memory.view(review.namespace)
        made = self._attempt(review, view)
        if is_memory_behind(view, made):
            view = (await self._memory.look(review.namespace)).opted_in
            made = self._attempt(review, view)
        return view, made

    def _attempt(self, review: Review, view: View) -> Injection:
        version = self._memory.versions.oldest
        return self._decider.attempt(review, view, version, self._clock_s())


def about(namespace: str, policy: Policy | None = None) -> Mapping[str, Any]:
    """Return what an Event is about; a namespace's stands in the namespace itself."""
    if policy is None:
        return reference(kinds.NAMESPACE, namespace, namespace)
    return reference(FODC_INJECTION, namespace, policy.name, policy.uid)

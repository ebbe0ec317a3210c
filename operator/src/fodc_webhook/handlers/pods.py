# SPDX-License-Identifier: Apache-2.0
"""Pods that are about to be created, from kopf's admission to the decision.

The one idea: kopf tells a handler neither the namespace of a bare pod nor the id of its review, and
what a handler raises it turns into a refusal. So the review that our server read comes by a context
variable, and no exception but a refusal that a policy asks for leaves the handler.
"""

from collections.abc import Awaitable, Callable

import kopf

from fodc_kube.kinds import POD
from fodc_webhook.decide import Decision
from fodc_webhook.review import Review
from fodc_webhook.server import current


def register(
    registry: kopf.OperatorRegistry, decide: Callable[[Review], Awaitable[Decision]]
) -> None:
    """Put the agent into pods."""

    @kopf.on.mutate(
        POD.group, POD.version, POD.plural, operations={"CREATE"}, registry=registry, id="inject"
    )
    async def created(warnings: list[str], **_: object) -> None:
        asked = current()
        if not isinstance(asked.review, Review):
            return
        decision = asked.decision = await decide(asked.review)
        warnings.extend(decision.warnings)
        if decision.refusal:
            raise kopf.AdmissionError(decision.refusal, code=403)

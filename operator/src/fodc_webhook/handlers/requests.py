# SPDX-License-Identifier: Apache-2.0
"""DiagnosticRequests that are about to be created, from kopf's admission to the stamp.

kopf is told nothing but that the object may be created; the change goes with our own answer, as
for pods.
"""

import kopf

from fodc_webhook.kinds import DIAGNOSTIC_REQUEST
from fodc_webhook.review import Asking
from fodc_webhook.server import current
from fodc_webhook.stamp import stamp


def register(registry: kopf.OperatorRegistry) -> None:
    """Write down who asks."""

    @kopf.on.mutate(
        DIAGNOSTIC_REQUEST.group,
        DIAGNOSTIC_REQUEST.version,
        DIAGNOSTIC_REQUEST.plural,
        operations={"CREATE"},
        registry=registry,
        id="stamp",
    )
    async def created(warnings: list[str], **_: object) -> None:
        asked = current()
        if isinstance(asked.review, Asking):
            decision = asked.decision = stamp(asked.review)
            warnings.extend(decision.warnings)

# SPDX-License-Identifier: Apache-2.0
"""DiagnosticRequests that somebody creates, changes or deletes, from kopf's admission to the stamp.

kopf is told nothing but that it may be done; the change goes with our own answer, as for pods.
"""

import kopf

from fodc_webhook.kinds import DIAGNOSTIC_REQUEST
from fodc_webhook.review import Asking
from fodc_webhook.server import current
from fodc_webhook.stamp import stamp


def register(registry: kopf.OperatorRegistry) -> None:
    """Write down who asks, who ends it early and who deletes it."""
    about = (DIAGNOSTIC_REQUEST.group, DIAGNOSTIC_REQUEST.version, DIAGNOSTIC_REQUEST.plural)

    # Of a deletion kopf tells those handlers alone that ask for nothing else; of all else it tells
    # both, and the first one decides.
    @kopf.on.mutate(*about, operations={"DELETE"}, registry=registry, id="deleted")
    @kopf.on.mutate(*about, operations={"CREATE", "UPDATE"}, registry=registry, id="stamp")
    async def changed(warnings: list[str], **_: object) -> None:
        asked = current()
        if isinstance(asked.review, Asking) and asked.decision is None:
            decision = asked.decision = stamp(asked.review)
            warnings.extend(decision.warnings)

# SPDX-License-Identifier: Apache-2.0
"""FodcInjections, from kopf's watch into memory."""

import kopf

from fodc_kube.store import Store
from fodc_webhook.handlers.framework import on_event
from fodc_webhook.kinds import FODC_INJECTION


def register(registry: kopf.OperatorRegistry, policies: Store) -> None:
    """Keep memory as the API server tells."""

    @on_event(FODC_INJECTION, registry)
    async def changed(event: kopf.RawEvent, **_: object) -> None:
        take = policies.remove if event["type"] == "DELETED" else policies.put
        take(dict(event["object"]))

# SPDX-License-Identifier: Apache-2.0
"""Labels of namespaces, from kopf's watch into memory."""

import kopf

from fodc_kube import kinds
from fodc_kube.store import Store
from fodc_webhook.handlers.framework import on_event


def register(registry: kopf.OperatorRegistry, namespaces: Store) -> None:
    """Keep memory as the API server tells."""

    @on_event(kinds.NAMESPACE, registry)
    async def changed(event: kopf.RawEvent, **_: object) -> None:
        take = namespaces.remove if event["type"] == "DELETED" else namespaces.put
        take(dict(event["object"]))

# SPDX-License-Identifier: Apache-2.0
"""Whether a policy gives no agents now, as its status says.

The one idea: the operator decides and tells it by the condition AgentsStart, so every replica reads
the same answer.
"""

from collections.abc import Mapping
from typing import Any, Final

from fodc_kube.conditions import condition_of

CONDITION: Final = "AgentsStart"


def is_suspended(body: Mapping[str, Any]) -> str:
    """Return why this FodcInjection gives no agents now, "" when it does.

    For the webhook: a pod is then admitted without an agent. A changed spec ends a suspension at
    once, because the condition is about an earlier generation.
    """
    found = condition_of(body.get("status") or {}, CONDITION)
    generation = (body.get("metadata") or {}).get("generation")
    if found.get("status") != "False" or found.get("observedGeneration") != generation:
        return ""
    return f"{found.get('reason', '')}: {found.get('message', '')}"

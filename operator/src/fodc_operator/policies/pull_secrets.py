# SPDX-License-Identifier: Apache-2.0
"""What is said of the Secrets with which a policy wants the agent's image pulled.

The one idea: a name that is wrong is told when the policy is applied, not by a pod that waits; and
where nobody could look, nobody claims to know.
"""

from enum import StrEnum
from typing import Final

from fodc_kube.conditions import Condition

CONDITION: Final = "PullSecretsFound"
COMPONENT: Final = "pull-secrets"
"""The component of the manifests that lets the operator look."""
MISSING: Final = "PullSecretMissing"


class Sight(StrEnum):
    """What looking for one Secret gave."""

    FOUND = "Found"
    MISSING = "Missing"
    FORBIDDEN = "Forbidden"
    FAILED = "Failed"


def said_of(sights: dict[str, Sight], namespace: str) -> Condition:
    """Return the condition that tells of the Secrets of a policy, by their names."""
    if not sights:
        return Condition(CONDITION, "True", "NoneNamed", "spec.agent.imagePullSecrets names none")
    if missing := _with(sights, Sight.MISSING):
        text = (
            f"no Secret {missing} in namespace {namespace} (spec.agent.imagePullSecrets): make it, "
            "or an image that needs it cannot be pulled"
        )
        return Condition(CONDITION, "False", MISSING, text)
    if unseen := _with(sights, Sight.FORBIDDEN):
        text = (
            f"the operator may not look for Secret {unseen}: add the component {COMPONENT} of the "
            "manifests, or let it get Secrets of these names"
        )
        return Condition(CONDITION, "Unknown", "NotAllowed", text)
    if failed := _with(sights, Sight.FAILED):
        text = f"the API server did not say whether Secret {failed} exists; it is asked again"
        return Condition(CONDITION, "Unknown", "NotAnswered", text)
    return Condition(CONDITION, "True", "Found", f"there is Secret {', '.join(sights)}")


def _with(sights: dict[str, Sight], sight: Sight) -> str:
    return ", ".join(name for name, one in sights.items() if one is sight)

# SPDX-License-Identifier: Apache-2.0
"""What came of the attempt to put an agent into a pod.

The one idea: an attempt always ends in a pod that may be created; whether it has an agent, and if
not why not, is a value that ends up in an annotation, a metric and the status of the policy.
"""

from dataclasses import dataclass
from enum import StrEnum

from fodc_kube.pods import Pod
from fodc_webhook.resources.fodc_injection import Flavor, Mode


class Outcome(StrEnum):
    """What was done with the pod."""

    INJECTED = "Injected"
    """The pod now has an agent, or had exactly this one already."""
    SKIPPED = "Skipped"
    """The pod is left without an agent; the reason says why."""


class SkipReason(StrEnum):
    """Why a pod is left without an agent."""

    NOT_SELECTED = "NotSelected"
    """No FodcInjection of the namespace selects it."""
    OPTED_OUT = "OptedOut"
    PAUSED = "Paused"
    SEVERAL_POLICIES = "SeveralPolicies"
    UNKNOWN_POLICY = "UnknownPolicy"
    """The annotation names a FodcInjection that does not exist."""
    BAD_POLICY = "BadPolicy"
    BAD_ANNOTATION = "BadAnnotation"
    FOREIGN_AGENT = "ForeignAgent"
    """It has a container of the agent's name that is not ours, and may not be taken over."""
    JOB = "Job"
    NO_DATABASE = "NoDatabase"
    SEVERAL_DATABASES = "SeveralDatabases"
    TOO_MANY_CONTAINERS = "TooManyContainers"
    NOT_LINUX = "NotLinux"
    STATIC_POD = "StaticPod"
    """It mirrors a pod of a machine's own manifests, which only the machine can change."""
    TOO_OLD = "ServerTooOld"
    NAME_TAKEN = "NameTaken"
    """A volume or mount path that the agent needs is in use for something else."""
    REFUSED_BEFORE = "RefusedAfterInjection"
    """Something refused the pod with an agent in it, so it is let in without."""
    SUSPENDED = "Suspended"
    """Agents of this policy do not start, so no more pods get one until they do."""
    FAILED = "InjectionFailed"
    """A fault of ours; the message says what."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A pod after the attempt.

    `note` says what is less than was asked for (a flavor that the namespace does not admit);
    `message` is a sentence for people, empty for a plain success.
    """

    pod: Pod
    outcome: Outcome
    policy: str = ""
    reason: SkipReason | None = None
    message: str = ""
    flavor: Flavor | None = None
    mode: Mode | None = None
    revision: str = ""
    note: str = ""

# SPDX-License-Identifier: Apache-2.0
"""A pod that is let in without an agent, and how it says so.

The one idea: nothing changes but one annotation with reason and sentence, and only where somebody
asked for an agent; a pod that nobody meant, or that has its agent already, is not touched at all.
"""

from typing import Final

from fodc_kube.pods import Pod, annotations_of, mapping
from fodc_webhook.inject.marks import SKIPPED
from fodc_webhook.inject.outcome import Injection, Outcome, SkipReason
from fodc_webhook.inject.pod_reading import has_our_agent

MAX_MESSAGE: Final = 1024
SILENT: Final = frozenset({SkipReason.NOT_SELECTED, SkipReason.OPTED_OUT, SkipReason.STATIC_POD})
"""No news for anybody: the pod is not even marked."""


def skipped(pod: Pod, reason: SkipReason, message: str, *, policy: str = "") -> Injection:
    """Return the pod without an agent; `message` is a sentence for people."""
    short = message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"
    silent = reason in SILENT or has_our_agent(pod)
    return Injection(
        pod=pod if silent else with_annotations(pod, {SKIPPED: f"{reason}: {short}"}),
        outcome=Outcome.SKIPPED,
        policy=policy,
        reason=reason,
        message=short,
    )


def with_annotations(pod: Pod, changes: dict[str, str | None]) -> Pod:
    """Return the pod with annotations set, or taken away where the value is None."""
    annotations = {**annotations_of(pod), **changes}
    kept = {name: value for name, value in annotations.items() if value is not None}
    return {**pod, "metadata": {**mapping(pod.get("metadata")), "annotations": kept}}

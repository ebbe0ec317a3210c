# SPDX-License-Identifier: Apache-2.0
"""Which FodcInjection a pod gets, if any.

The one idea: the most specific wish wins (a pod's label over its namespace's, a pod's annotation
over a selector), and where two would fit nobody guesses.
"""

from collections.abc import Iterable, Mapping

from fodc_kube.pods import Pod, annotations_of, labels_of, text
from fodc_webhook.inject.marks import DISABLED, ENABLED, OPT_IN_LABEL, POLICY
from fodc_webhook.inject.outcome import Injection, SkipReason
from fodc_webhook.inject.skipping import skipped
from fodc_webhook.resources.fodc_injection import Policy


def choose(
    pod: Pod, policies: Iterable[Policy], namespace_labels: Mapping[str, str]
) -> Policy | Injection:
    """Return the policy for a pod, or the pod left alone with the reason.

    `policies` are those of the pod's namespace.
    """
    refusal = _not_wanted(pod, namespace_labels)
    if refusal is not None:
        return refusal
    found = _named(pod, policies) if _name(pod) else _selecting(pod, policies)
    if isinstance(found, Policy) and found.paused:
        message = f"FodcInjection {found.name} is paused; set paused: false there to go on"
        return skipped(pod, SkipReason.PAUSED, message, policy=found.name)
    return found


def _not_wanted(pod: Pod, namespace_labels: Mapping[str, str]) -> Injection | None:
    wish = text(labels_of(pod).get(OPT_IN_LABEL))
    if wish == DISABLED:
        message = f"the pod's label {OPT_IN_LABEL} is {DISABLED}"
        return skipped(pod, SkipReason.OPTED_OUT, message)
    if ENABLED in {wish, text(namespace_labels.get(OPT_IN_LABEL))}:
        return None
    message = f"neither the pod nor its namespace has the label {OPT_IN_LABEL}: {ENABLED}"
    return skipped(pod, SkipReason.NOT_SELECTED, message)


def _name(pod: Pod) -> str:
    return text(annotations_of(pod).get(POLICY))


def _named(pod: Pod, policies: Iterable[Policy]) -> Policy | Injection:
    known = {one.name: one for one in policies}
    if _name(pod) in known:
        return known[_name(pod)]
    message = (
        f"the pod's annotation {POLICY} names the FodcInjection {_name(pod)}, which its namespace "
        f"does not have; it has {_listed(known)}"
    )
    return skipped(pod, SkipReason.UNKNOWN_POLICY, message)


def _selecting(pod: Pod, policies: Iterable[Policy]) -> Policy | Injection:
    labels = {key: text(value) for key, value in labels_of(pod).items()}
    fits = {one.name: one for one in policies if one.pod_selector.matches(labels)}
    if len(fits) == 1:
        return next(iter(fits.values()))
    if not fits:
        message = "no FodcInjection of the namespace selects the pod's labels"
        return skipped(pod, SkipReason.NOT_SELECTED, message)
    message = (
        f"the FodcInjections {_listed(fits)} all select the pod; narrow their podSelector or name "
        f"one in the pod's annotation {POLICY}"
    )
    return skipped(pod, SkipReason.SEVERAL_POLICIES, message)


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    shown = ", ".join(every[:8]) + (f" and {len(every) - 8} more" if len(every) > 8 else "")
    return shown or "none"

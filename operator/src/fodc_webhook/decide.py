# SPDX-License-Identifier: Apache-2.0
"""What becomes of a pod that is about to be created, and what people are told of it; pure.

The one idea: every way out is a decision that lets the pod in; only a policy that says so itself
has a pod refused, for a reason that is the pod's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from fodc_kube.conditions import Happened
from fodc_kube.pods import Pod
from fodc_webhook.inject.attempt import EMPTY, Book, attempt, denies
from fodc_webhook.inject.marks import ENABLED, OPT_IN_LABEL
from fodc_webhook.inject.outcome import Injection, Outcome, SkipReason
from fodc_webhook.inject.patch import json_patch
from fodc_webhook.inject.skipping import SILENT, skipped
from fodc_webhook.resources.fodc_injection import Policy
from fodc_webhook.review import Review, warning
from fodc_webhook.second_chance import SecondChances

FAULT: Final = "a fault of the webhook; its log has the cause"
DENIED: Final = "Denied"
"""Outcome in the metric of a pod that a policy has refused."""
_OURS: Final = frozenset(
    {SkipReason.FAILED, SkipReason.REFUSED_BEFORE, SkipReason.BAD_POLICY, SkipReason.SUSPENDED}
)
"""Not the pod's doing: told in an Event."""
Attempt: TypeAlias = Callable[[Pod, Book, Mapping[str, str], tuple[int, int]], Injection]


@dataclass(frozen=True, slots=True)
class View:
    """What is known of one namespace; `labels` is None for one that is not known."""

    book: Book = EMPTY
    labels: Mapping[str, str] | None = None

    @property
    def opted_in(self) -> "View":
        """The same where labels are known: API servers ask only about pods somebody opted in."""
        return self if self.labels is not None else View(self.book, {OPT_IN_LABEL: ENABLED})


@dataclass(frozen=True, slots=True)
class Decision:
    """What is answered about a pod, how it is counted, and what an Event tells."""

    outcome: str
    reason: str = ""
    steps: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    refusal: str = ""
    happened: Happened | None = None
    policy: Policy | None = field(default=None, repr=False)
    """What the Event is about; the namespace where it is None."""
    deed: Mapping[str, str | int] | None = None
    """What the audit is told, without its time."""


class Decider:
    """Attempts by memory; remembers which pods came back although they left with an agent."""

    def __init__(self, attempt: Attempt = attempt) -> None:
        self._attempt = attempt
        self._chances = SecondChances()

    def attempt(
        self, review: Review, view: View, server_version: tuple[int, int], now_s: float
    ) -> Injection:
        """Return the pod with or without an agent; `now_s` is of a clock that only goes on."""
        made = self._attempt(review.pod, view.book, view.labels or {}, server_version)
        if made.outcome is not Outcome.INJECTED:
            return made
        key = (review.pod, review.namespace)
        if self._chances.was_refused(*key, now_s):
            self._chances.note_refused(*key, now_s, dry_run=review.is_dry_run)
            text = "with an agent the pod was not created, so it is let in as it came"
            return skipped(review.pod, SkipReason.REFUSED_BEFORE, text, policy=made.policy)
        self._chances.note_injected(*key, now_s, dry_run=review.is_dry_run)
        return made


def is_memory_behind(view: View, made: Injection) -> bool:
    """Say whether a policy may have been applied a moment before its pod, unseen as yet."""
    unchosen = made.reason in {SkipReason.NOT_SELECTED, SkipReason.UNKNOWN_POLICY}
    return view.labels is None or unchosen


def fault_of_ours(review: Review) -> Decision:
    """Return the decision where deciding failed."""
    return decision_of(review, View(), skipped(review.pod, SkipReason.FAILED, FAULT))


def decision_of(review: Review, view: View, made: Injection) -> Decision:
    """Return what is answered and told of an attempt."""
    reason = made.reason.value if made.reason else ""
    happened = _happened(review, made)
    policy = view.book.named(made.policy)
    if denies(view.book, made):
        text = f"FodcInjection {made.policy} (onError: Deny): {made.message}"
        return Decision(DENIED, reason, refusal=text, happened=happened, policy=policy)
    sentence = "" if made.reason in SILENT else made.message
    return Decision(
        made.outcome.value,
        reason,
        tuple(json_patch(review.pod, made.pod)),
        tuple(warning(f"fodc: {text}") for text in (sentence, made.note) if text),
        happened=happened,
        policy=policy,
    )


def _happened(review: Review, made: Injection) -> Happened | None:
    if made.reason not in _OURS or review.is_dry_run:
        return None
    return Happened(made.reason.value, f"pod {review.name}: {made.message}", is_warning=True)

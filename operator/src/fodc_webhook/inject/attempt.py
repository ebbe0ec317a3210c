# SPDX-License-Identifier: Apache-2.0
"""The whole attempt: which policy a pod gets, and the pod with or without an agent.

The one idea: webhook and reconciler ask this one question, so what is reported about a pod is what
the webhook would do with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fodc_kube.pods import Pod, annotations_of
from fodc_protocol.fields import FieldError
from fodc_webhook.inject.choosing import choose
from fodc_webhook.inject.inject import inject
from fodc_webhook.inject.marks import POLICY
from fodc_webhook.inject.outcome import Injection, SkipReason
from fodc_webhook.inject.skipping import skipped
from fodc_webhook.inject.suspended import is_suspended
from fodc_webhook.resources.fodc_injection import Defaults, OnError, Policy, policy_of

_UNCHOSEN: Final = frozenset({SkipReason.NOT_SELECTED, SkipReason.UNKNOWN_POLICY})
_POLICYS_OWN: Final = frozenset(
    {
        SkipReason.BAD_ANNOTATION,
        SkipReason.FOREIGN_AGENT,
        SkipReason.NO_DATABASE,
        SkipReason.SEVERAL_DATABASES,
        SkipReason.TOO_MANY_CONTAINERS,
        SkipReason.NOT_LINUX,
        SkipReason.TOO_OLD,
        SkipReason.NAME_TAKEN,
    }
)
"""About the pod and its policy; all else is a wish, or a fault that is not theirs."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A FodcInjection that breaks its own rules, and how."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Book:
    """The policies of one namespace, as they are in memory."""

    policies: tuple[Policy, ...] = ()
    suspended: Mapping[str, str] | None = None
    """Why, by name of the policy."""
    unreadable: tuple[Unreadable, ...] = ()

    def named(self, name: str) -> Policy | None:
        """Return the policy of this name."""
        return next((one for one in self.policies if one.name == name), None)


EMPTY: Final = Book()


def book_of(bodies: Iterable[Mapping[str, Any]], defaults: Defaults) -> Book:
    """Read the FodcInjections of one namespace; a wrong one costs no other."""
    policies, suspended, unreadable = [], {}, []
    for body in bodies:
        try:
            one = policy_of(body, defaults)
        except FieldError as error:
            unreadable.append(Unreadable(str(body["metadata"]["name"]), error.message))
            continue
        policies.append(one)
        if why := is_suspended(body):
            suspended[one.name] = why
    return Book(tuple(policies), suspended, tuple(unreadable))


def attempt(
    pod: Pod, book: Book, namespace_labels: Mapping[str, str], server_version: tuple[int, int]
) -> Injection:
    """Return what becomes of a pod of the namespace that the book is of."""
    chosen = choose(pod, book.policies, namespace_labels)
    if isinstance(chosen, Injection):
        return _unless_unreadable(pod, book, chosen)
    why = (book.suspended or {}).get(chosen.name)
    if why:
        message = f"FodcInjection {chosen.name} gives no agents now: {why}"
        return skipped(pod, SkipReason.SUSPENDED, message, policy=chosen.name)
    return inject(pod, chosen, server_version, namespace_labels)


def denies(book: Book, made: Injection) -> bool:
    """Whether the policy wants the pod refused, for a reason that it names itself."""
    policy = book.named(made.policy)
    return policy is not None and policy.on_error is OnError.DENY and made.reason in _POLICYS_OWN


def _unless_unreadable(pod: Pod, book: Book, made: Injection) -> Injection:
    """Say that no policy was found because one cannot be read, where that may be so."""
    if made.reason not in _UNCHOSEN or not book.unreadable:
        return made
    named = str(annotations_of(pod).get(POLICY, ""))
    wrong = next((one for one in book.unreadable if one.name == named), None)
    if named and wrong is None:
        return made
    found = wrong or book.unreadable[0]
    message = f"FodcInjection {found.name} cannot be read: {found.message}"
    return skipped(pod, SkipReason.BAD_POLICY, message, policy=found.name)

# SPDX-License-Identifier: Apache-2.0
"""Which Events a change of status is worth.

The one idea: Events follow from two statuses, the one before and the one that was written; what is
written twice tells nothing twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fodc_kube.conditions import Happened
from fodc_operator.diagnostics.conditions import ConditionType, is_true


@dataclass(frozen=True, slots=True)
class People:
    """Who asked, and who ended it early by the object; the latter is empty for nobody known."""

    asked: str
    ended: str = ""


def between(
    before: Mapping[str, object], after: Mapping[str, object], who: People
) -> tuple[Happened, ...]:
    """Return what happened from one status to the next, in its order."""
    happened: list[Happened] = []
    if _became(ConditionType.ACCEPTED, before, after) and not _has_end(after):
        happened.append(Happened("Accepted", f"the request of {who.asked} is understood"))
    if _became(ConditionType.STARTED, before, after):
        happened.append(
            Happened(
                "Started", f"captures for {who.asked} have started: {_text(after, 'captures')}"
            )
        )
    end = _text(after, "phase") if _has_end(after) and not _has_end(before) else ""
    if end:
        happened.append(_ended(end, after, who))
    return tuple(happened)


def _became(kind: ConditionType, before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    return is_true(after, kind) and not is_true(before, kind)


def _has_end(status: Mapping[str, object]) -> bool:
    return "completionTime" in status


def _ended(phase: str, after: Mapping[str, object], who: People) -> Happened:
    message = _text(after, "message") or _text(after, "reason")
    cause = _text(after, "reason")
    told = f"{cause}: {message}" if cause and cause != message else message
    by = f", ended by {who.ended}" if who.ended and phase == "Cancelled" else ""
    asked = f"asked by {who.asked}{by}"
    return Happened(
        phase,
        f"{asked}: {told}" if told else asked,
        is_warning=phase not in {"Succeeded", "Cancelled"},
    )


def _text(status: Mapping[str, object], name: str) -> str:
    value = status.get(name)
    return value if isinstance(value, str) else ""

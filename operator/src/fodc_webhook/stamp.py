# SPDX-License-Identifier: Apache-2.0
"""Who asks for captures, who ends them early and who deletes a DiagnosticRequest; pure.

The one idea: the API server knows who changes an object and forgets it; what it says at admission
is the only truth, so it takes the place of whatever the object says itself. That nobody else
writes it is held by the API server's own policy (`fodc-requester` in the manifests). What is
deleted can hold no name any more, so that is a line of the audit.
"""

from collections.abc import Mapping
from typing import Final

from fodc_webhook.decide import Decision
from fodc_webhook.inject.patch import json_patch
from fodc_webhook.kinds import CANCELLED_BY, REQUESTED_BY
from fodc_webhook.review import Asking, Operation

STAMPED: Final = "Stamped"
DELETED: Final = "Deleted"
"""Outcomes in the metric."""
_ACCEPTED: Final = 202


def stamp(asked: Asking) -> Decision:
    """Return the change that says who it is, with a warning where the object said another name."""
    match asked.operation:
        case Operation.CREATE:
            by = asked.user if asked.cancel else ""
            return _signed(asked, {REQUESTED_BY: asked.user, CANCELLED_BY: by})
        case Operation.UPDATE:
            is_changed = asked.cancel and asked.cancel != asked.cancel_before
            return _signed(
                asked, {CANCELLED_BY: asked.user if is_changed else asked.cancelled_by_before}
            )
        case Operation.DELETE:
            return Decision(DELETED, deed=None if asked.is_dry_run else _deletion(asked))


def _signed(asked: Asking, names: Mapping[str, str]) -> Decision:
    annotations = asked.annotations
    known = annotations or {}
    others = {name: value for name, value in known.items() if name not in names}
    after = {**others, **{name: value for name, value in names.items() if value}}
    # Whoever has no annotations gets no empty field.
    changed = {"annotations": after} if after or annotations is not None else {}
    before = {} if annotations is None else {"annotations": annotations}
    steps = json_patch({"metadata": before}, {"metadata": changed})
    told = tuple(
        f"fodc: {name} is who {_DOES[name]}, {value or 'nobody'}"
        for name, value in names.items()
        if known.get(name) not in {None, value}
    )
    return Decision(STAMPED, steps=tuple(steps), warnings=told)


_DOES: Final = {REQUESTED_BY: "creates the object", CANCELLED_BY: "ends it early"}


def _deletion(asked: Asking) -> Mapping[str, str | int]:
    """Return what the audit is told, in the words of the proxy's."""
    return {
        "audit": "deleteDiagnosticRequest",
        "caller": asked.user,
        # The API server's word, as far as whoever asked is one.
        "authenticated": "admission",
        "peer": "api-server",
        "status": _ACCEPTED,
        "request_id": asked.uid,
        "resource": f"{asked.namespace}/{asked.name}",
    }

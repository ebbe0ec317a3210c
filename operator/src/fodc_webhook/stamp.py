# SPDX-License-Identifier: Apache-2.0
"""Who asked for captures, written on the DiagnosticRequest as it is created; pure.

The one idea: the API server knows who creates an object and forgets it; what it says at admission
is the only truth, so it takes the place of whatever the object says itself. That nobody else
writes it is held by the API server's own policy (`fodc-requester` in the manifests).
"""

from typing import Final

from fodc_webhook.decide import Decision
from fodc_webhook.inject.patch import json_patch
from fodc_webhook.kinds import GROUP
from fodc_webhook.review import Asking

REQUESTED_BY: Final = f"{GROUP}/requested-by"
STAMPED: Final = "Stamped"
"""Outcome in the metric."""


def stamp(asked: Asking) -> Decision:
    """Return the change that says who asks, with a warning where the object said another name."""
    annotations = asked.annotations
    said = None if annotations is None else annotations.get(REQUESTED_BY)
    before = {} if annotations is None else {"annotations": annotations}
    after = {"annotations": {**(annotations or {}), REQUESTED_BY: asked.user}}
    steps = json_patch({"metadata": before}, {"metadata": after})
    is_other = said not in {None, asked.user}
    told = f"fodc: {REQUESTED_BY} is who creates the object, {asked.user}" if is_other else ""
    return Decision(STAMPED, steps=tuple(steps), warnings=(told,) if told else ())

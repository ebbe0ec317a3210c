# SPDX-License-Identifier: Apache-2.0
"""From a DiagnosticRequest to a request of the proxy.

The one idea: the id of the proxy's request follows from the object's uid, so that an operator that
comes back finds what it began, and an object made anew under an old name is another request.
"""

import hashlib
import math
import re
from dataclasses import replace
from typing import Final

from fodc_api import words
from fodc_operator.resources.diagnostic_request import CancelMode, Identity, RequestSpec
from fodc_proxy.captures import model

MAX_ID_LENGTH: Final = 63
_UNFIT: Final = re.compile(r"[^a-z0-9-]+")
_OURS: Final = re.compile(r"[a-z0-9-]*-k[0-9a-f]{12}")


def request_id(identity: Identity) -> str:
    """Return the id in the proxy: the object's name for people, and a hash of its uid."""
    mark = "-k" + hashlib.sha256(identity.uid.encode()).hexdigest()[:12]
    name = _UNFIT.sub("-", identity.key.name.lower()).strip("-") or "request"
    return name[: MAX_ID_LENGTH - len(mark)].rstrip("-") + mark


def is_from_resource(request: str) -> bool:
    """Say whether a request of the proxy has an id as `request_id` makes them."""
    return _OURS.fullmatch(request) is not None


def proxy_spec(spec: RequestSpec, waited_s: float) -> model.Spec:
    """Return what the proxy is asked for; what was waited already counts as waiting to start.

    A label selector is not in it: the caller leaves out the nodes that it does not choose.
    """
    target = spec.target
    chosen_otherwise = bool(target.names or target.roles or target.tiers)
    left_s = max(math.ceil(spec.execution.start_deadline_s - waited_s), 1)
    return model.Spec(
        selector=model.Selector(
            names=target.names,
            roles=target.roles,
            tiers=target.tiers,
            all=target.all or not chosen_otherwise,
            include_offline=target.include_offline,
        ),
        captures=spec.captures,
        execution=replace(spec.execution, start_deadline_s=left_s),
        purpose=spec.purpose,
    )


def proxy_cancel(cancel: CancelMode) -> words.CancelMode:
    """Return the proxy's word for a way to end early."""
    return words.CancelMode.STOP if cancel is CancelMode.STOP else words.CancelMode.ABORT

# SPDX-License-Identifier: Apache-2.0
"""DiagnosticRequests."""

import kopf

from fodc_operator.handlers.telling import Caller, Listener, tell
from fodc_operator.resources.kinds import DIAGNOSTIC_REQUEST


def register(registry: kopf.OperatorRegistry, listener: Listener, bridge: Caller) -> None:
    """Let the listener know of every object of this kind."""
    tell(DIAGNOSTIC_REQUEST, registry, listener, bridge)

# SPDX-License-Identifier: Apache-2.0
"""FodcInjections."""

import kopf

from fodc_operator.handlers.telling import Caller, Listener, tell
from fodc_webhook.kinds import FODC_INJECTION


def register(registry: kopf.OperatorRegistry, listener: Listener, bridge: Caller) -> None:
    """Let the listener know of every object of this kind."""
    tell(FODC_INJECTION, registry, listener, bridge)

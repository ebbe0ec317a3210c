# SPDX-License-Identifier: Apache-2.0
"""FodcNodes."""

import kopf

from fodc_operator.handlers.telling import Caller, Listener, tell
from fodc_operator.resources.kinds import FODC_NODE


def register(registry: kopf.OperatorRegistry, listener: Listener, bridge: Caller) -> None:
    """Let the listener know of every object of this kind."""
    tell(FODC_NODE, registry, listener, bridge)

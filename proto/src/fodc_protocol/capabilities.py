# SPDX-License-Identifier: Apache-2.0
"""What an agent can do on its node, and if it cannot, why.

The one idea: "cannot" is never silence; each capability has a state, a reason and a message.
"""

from enum import StrEnum
from typing import Final

SOURCE_KINDS: Final = ("process", "cgroup", "pressure", "kernel")
"""Capabilities that are no kind of profile: what is read of the node's process and machine."""


class CapabilityState(StrEnum):
    """Whether something can be done."""

    SUPPORTED = "Supported"
    DISABLED = "Disabled"
    """Could be done but a setting says no; the reason names the setting."""
    UNSUPPORTED = "Unsupported"
    """Cannot be done here: kernel, permissions or version."""
    UNKNOWN = "Unknown"
    """Not found out yet, or an agent that declares nothing."""

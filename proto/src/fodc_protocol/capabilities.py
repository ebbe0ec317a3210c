# SPDX-License-Identifier: Apache-2.0
"""What an agent can do on its node, and if it cannot, why.

The one idea: "cannot" is never silence; each capability has a state, a reason and a message.
"""

from dataclasses import dataclass
from enum import StrEnum


class CapabilityState(StrEnum):
    """Whether something can be done."""

    SUPPORTED = "Supported"
    DISABLED = "Disabled"
    """Could be done but a setting says no; the reason names the setting."""
    UNSUPPORTED = "Unsupported"
    """Cannot be done here: kernel, permissions or version."""
    UNKNOWN = "Unknown"
    """Not found out yet, or an agent that declares nothing."""


@dataclass(frozen=True, slots=True)
class Capability:
    """State of one kind of capture or telemetry.

    `kind` is a capture's name ("cpu", "block") or a source ("kernel"); `reason` is one CamelCase
    word such as RateZero or NoBTF, empty when supported; `message` is a sentence for people.
    """

    kind: str
    state: CapabilityState
    reason: str = ""
    message: str = ""

    @property
    def usable(self) -> bool:
        """Whether an attempt makes sense: supported, or not known to fail."""
        return self.state in {CapabilityState.SUPPORTED, CapabilityState.UNKNOWN}

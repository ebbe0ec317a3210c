# SPDX-License-Identifier: Apache-2.0
"""What becomes of a FodcNode whose agent is not registered: Pending, Offline, Lost, removed.

The one idea: a new leader has heard nobody yet, so silence counts only after a grace; what was
heard under this leader and left needs none.
"""

from dataclasses import dataclass
from typing import Final

from fodc_operator.resources.fodcnode import NodePhase
from fodc_protocol.errors import BadRequestError

HEARTBEATS_OF_GRACE: Final = 3


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is borne; milliseconds. Raises BadRequestError by flag name."""

    heartbeat_ms: int = 10_000
    """Interval of the heartbeats: so much later an agent that lives should have come."""
    grace_ms: int = 90_000
    lost_ms: int = 300_000
    retention_ms: int = 24 * 3600 * 1000

    def __post_init__(self) -> None:
        least_ms = HEARTBEATS_OF_GRACE * self.heartbeat_ms
        if self.grace_ms < least_ms:
            raise BadRequestError(
                f"--startup-grace must be at least {HEARTBEATS_OF_GRACE} heartbeats "
                f"({least_ms / 1000:g}s)"
            )
        if self.retention_ms < 0:
            raise BadRequestError("--retention must not be negative")


@dataclass(frozen=True, slots=True)
class Silent:
    """A node without a registered agent; Unix milliseconds."""

    phase: NodePhase | None
    heard_ms: int
    heard_by_us: bool
    """Whether its agent was registered since this operator leads."""


def verdict(
    silent: Silent, patience: Patience, *, leads_since_ms: int, now_ms: int
) -> NodePhase | None:
    """Return the phase that it should have, None when its object is to be removed."""
    led_ms = now_ms - leads_since_ms
    if not silent.heard_by_us and led_ms < patience.grace_ms:
        return _unheard(silent.phase, waited=led_ms >= patience.heartbeat_ms)
    silence_ms = now_ms - silent.heard_ms
    if silence_ms <= patience.lost_ms:
        return NodePhase.OFFLINE
    return NodePhase.LOST if silence_ms <= patience.lost_ms + patience.retention_ms else None


def _unheard(phase: NodePhase | None, *, waited: bool) -> NodePhase:
    if phase is None or (phase.is_living and waited):
        return NodePhase.PENDING
    return phase

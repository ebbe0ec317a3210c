# SPDX-License-Identifier: Apache-2.0
"""When to leave a failing source alone: pure, on whatever clock the caller passes in.

The one idea: after `threshold` failures in a row it opens for `base_s`; each failed trial doubles
the pause up to `cap_s`; one success closes it (T-WD-12, T-WD-13).
"""

from enum import StrEnum

from fodc_protocol.lean import dataclass


class BreakerState(StrEnum):
    """CLOSED lets everything pass, OPEN nothing, HALF_OPEN one trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """Breaker of one source; times are seconds of a clock that never steps back."""

    threshold: int = 3
    base_s: float = 1.0
    cap_s: float = 60.0
    failures: int = 0
    _open_until_s: float = 0.0
    _on_trial: bool = False

    def state(self, now_s: float) -> BreakerState:
        """Return the state at `now_s`."""
        if self.failures < self.threshold:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_s < self._open_until_s else BreakerState.HALF_OPEN

    def allow(self, now_s: float) -> bool:
        """Say whether to try now. A half-open breaker says yes once until the trial has ended."""
        match self.state(now_s):
            case BreakerState.CLOSED:
                return True
            case BreakerState.OPEN:
                return False
            case BreakerState.HALF_OPEN:
                granted = not self._on_trial
                self._on_trial = True
                return granted

    def retry_in_s(self, now_s: float) -> float:
        """Return how long the breaker stays open from `now_s` on; 0 when it is not."""
        return max(0.0, self._open_until_s - now_s) if self.failures >= self.threshold else 0.0

    def succeeded(self) -> None:
        """Close the breaker and forget all failures."""
        self.failures = 0
        self._on_trial = False

    def failed(self, now_s: float) -> None:
        """Count one failure; from the threshold on the breaker opens, each time twice as long."""
        self.failures += 1
        self._on_trial = False
        beyond = self.failures - self.threshold
        if beyond >= 0:
            # The exponent is bounded so that years of failures cannot overflow a float.
            self._open_until_s = now_s + min(self.cap_s, self.base_s * 2.0 ** min(beyond, 64))

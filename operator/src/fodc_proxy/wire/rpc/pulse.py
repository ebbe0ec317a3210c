# SPDX-License-Identifier: Apache-2.0
"""Whether a connection lives, pure: times are seconds of one monotonic clock."""

from enum import Enum, auto
from typing import Final

GREETING_TIMEOUT_S: Final = 10.0
"""A connection that has not begun, or is broken, is gone by then."""
IDLE_TIMEOUT_S: Final = 300.0
"""One without any call is closed; when there are many, it is as a new one."""
STALL_TIMEOUT_S: Final = 30.0
"""One that takes no bytes of ours is closed."""
NO_ROOM_TIMEOUT_S: Final = 120.0
"""One on which nothing may be sent is closed."""
PING_AFTER_S: Final = 60.0
PING_TIMEOUT_S: Final = 20.0
"""A peer that vanished without a word is noticed within a minute and a half."""


class Verdict(Enum):
    """What to do with a connection."""

    LEAVE = auto()
    PING = auto()
    END = auto()


class Pulse:
    """What a connection was last seen to do."""

    __slots__ = ("heard_s", "idle_since_s", "is_pinged", "stalled_since_s")

    def __init__(self, now_s: float) -> None:
        self.heard_s = self.idle_since_s = self.stalled_since_s = now_s
        self.is_pinged = False

    def heard(self, now_s: float) -> None:
        """Note that the peer sent something."""
        self.heard_s = now_s
        self.is_pinged = False

    def verdict(
        self, now_s: float, *, is_paused: bool, is_waiting: bool, is_idle: bool, is_new: bool
    ) -> Verdict:
        """Say what to do.

        `is_paused`: the socket takes nothing; `is_waiting`: the peer gives no leave to send;
        `is_idle`: no calls; `is_new`: and no right to be so for long.
        """
        stalled_s = now_s - self.stalled_since_s
        if is_paused or is_waiting:
            return _ended(stalled_s > (STALL_TIMEOUT_S if is_paused else NO_ROOM_TIMEOUT_S))
        silent_s = now_s - self.heard_s
        if is_idle and now_s - self.idle_since_s > (
            GREETING_TIMEOUT_S if is_new else IDLE_TIMEOUT_S
        ):
            return Verdict.END
        if self.is_pinged:
            return _ended(silent_s > PING_AFTER_S + PING_TIMEOUT_S)
        self.is_pinged = silent_s >= PING_AFTER_S
        return Verdict.PING if self.is_pinged else Verdict.LEAVE


def _ended(ends: bool) -> Verdict:  # noqa: FBT001 - one truth into another
    return Verdict.END if ends else Verdict.LEAVE

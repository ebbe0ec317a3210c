# SPDX-License-Identifier: Apache-2.0
"""How many bytes a capture will need, by its kind and by what the last one of the kind needed.

The one idea: a promise of room is a guess that may grow while the bytes come in, so it can start
near what the kind really takes: a profile of 4 KiB must not cost other evidence its place. Pure.
"""

from dataclasses import field
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.profiles import Profile

_KIB: Final = 1024
# What a node of some size gave, with room to grow: bytes at once, and for each second.
_FIRST: Final[dict[Profile, tuple[int, int]]] = {
    Profile.CPU: (256 * _KIB, 16 * _KIB),
    Profile.HEAP: (512 * _KIB, 0),
    Profile.ALLOCS: (512 * _KIB, 0),
    Profile.GOROUTINE: (256 * _KIB, 0),
    Profile.BLOCK: (256 * _KIB, 0),
    Profile.MUTEX: (256 * _KIB, 0),
    Profile.THREADCREATE: (64 * _KIB, 0),
    Profile.TRACE: (512 * _KIB, 1024 * _KIB),
    Profile.WINDOW: (4096 * _KIB, 0),
    Profile.CONFIG: (64 * _KIB, 0),
}
_OPEN: Final = (256 * _KIB, 0)
_LEAST: Final = 64 * _KIB


@dataclass(slots=True)
class Needs:
    """Remembers the last result of each kind: its bytes and its duration in seconds."""

    _last: dict[Profile, tuple[int, float]] = field(default_factory=dict)

    def bytes_for(self, profile: Profile, duration_s: float) -> int:
        """Return what to promise: twice the last result, longer ones in proportion."""
        if profile not in self._last:
            at_once, a_second = _FIRST.get(profile, _OPEN)
            return at_once + round(a_second * duration_s)
        size_bytes, last_s = self._last[profile]
        longer = max(duration_s / last_s, 1.0) if last_s else 1.0
        return max(round(2 * size_bytes * longer), _LEAST)

    def learn(self, profile: Profile, duration_s: float, size_bytes: int) -> None:
        """Note what a capture of this kind took."""
        self._last[profile] = (size_bytes, duration_s)

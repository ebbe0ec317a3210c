# SPDX-License-Identifier: Apache-2.0
"""What time it is: the wall clock for people, and one that never steps for what is in order."""

import time


def wall_ms() -> int:
    """Return Unix time in milliseconds; it steps when the machine's clock is set."""
    return time.time_ns() // 1_000_000


class SteadyClock:
    """Unix time in milliseconds that never steps: the wall clock of the start plus what passed."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def __call__(self) -> int:
        """Return the time in milliseconds."""
        return int((self._offset_s + time.monotonic()) * 1000)

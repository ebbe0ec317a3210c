# SPDX-License-Identifier: Apache-2.0
"""Memory that the Python node holds and never needs."""

from __future__ import annotations

import threading
import time

MAX_GROWTH = 1024
_STEPS = 10
_leak: list[bytearray] = []


def grow(mib_per_s: int) -> None:
    """Grow by so much in each second, until the process is killed."""
    threading.Thread(target=_grow, args=(mib_per_s,), daemon=True).start()


def _grow(mib_per_s: int) -> None:
    while True:
        _leak.append(bytearray(b"1") * (mib_per_s * 1024 * 1024 // _STEPS))
        time.sleep(1 / _STEPS)

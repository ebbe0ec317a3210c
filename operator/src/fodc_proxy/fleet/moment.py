# SPDX-License-Identifier: Apache-2.0
"""A time by two clocks: how long something lasted is asked of the one, when it was of the other."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """A time by both clocks: one that only goes forward, and Unix time for people; both in ms."""

    steady_ms: int
    unix_ms: int

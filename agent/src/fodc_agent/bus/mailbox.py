# SPDX-License-Identifier: Apache-2.0
"""A bounded place for what a consumer has not fetched yet: pure, it never waits.

The one idea: a consumer that is too slow loses by a rule it chose itself, and the loss is counted.
"""

from collections import deque
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Policy(StrEnum):
    """What a full mailbox does with one more item."""

    KEEP_LATEST = "keep_latest"
    """Only the newest item is kept, whatever the capacity: for whoever wants to know what is."""
    DROP_OLDEST = "drop_oldest"
    """The oldest item goes: for whoever wants the newest few in order."""
    REJECT = "reject"
    """The new item is refused: for whoever must not miss the beginning."""


class Mailbox(Generic[T]):
    """Items in order of arrival, never more than `capacity`. `dropped` counts what was lost."""

    def __init__(self, policy: Policy, capacity: int = 16) -> None:
        if capacity < 1:
            raise ValueError(f"capacity of a mailbox must be at least 1, got {capacity}")
        self.policy = policy
        self.capacity = 1 if policy is Policy.KEEP_LATEST else capacity
        self.dropped = 0
        self._items: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """Take `item`; False when it was refused."""
        if len(self._items) < self.capacity:
            self._items.append(item)
            return True
        self.dropped += 1
        match self.policy:
            case Policy.REJECT:
                return False
            case Policy.KEEP_LATEST | Policy.DROP_OLDEST:
                self._items.popleft()
                self._items.append(item)
                return True

    def take(self) -> T | None:
        """Remove and return the oldest item, None when there is none."""
        return self._items.popleft() if self._items else None

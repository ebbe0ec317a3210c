# SPDX-License-Identifier: Apache-2.0
"""Work in steps: a generator that yields where others may run, and returns what it came to."""

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")


def run_through(steps: Generator[None, None, Result]) -> Result:
    """Take all steps at once and return what they come to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result

# SPDX-License-Identifier: Apache-2.0
"""What a wrong word was probably meant to be; pure."""

from collections.abc import Iterable
from typing import Final

_MUCH: Final = 0.15


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `Did you mean …?` with up to three words that come close, "" when none does."""
    import difflib  # noqa: PLC0415 - only errors pay for it

    typed, by_lower = word.lower(), {each.lower(): each for each in known}
    close = difflib.get_close_matches(typed, by_lower, n=3, cutoff=0.6)
    if close:
        # Beside one that is much closer the others are no help.
        near = difflib.SequenceMatcher(None, typed, close[0]).ratio() - _MUCH
        close = difflib.get_close_matches(typed, close, n=3, cutoff=max(near, 0.0))
    return f"Did you mean {' or '.join(by_lower[each] for each in close)}?" if close else ""

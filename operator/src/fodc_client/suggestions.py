# SPDX-License-Identifier: Apache-2.0
"""What a wrong word was probably meant to be; pure."""

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `Did you mean …?` with up to three words that come close, "" when none does."""
    import difflib  # noqa: PLC0415 - only errors pay for it

    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(by_lower[each] for each in close)}?" if close else ""

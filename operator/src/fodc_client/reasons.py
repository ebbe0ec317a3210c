# SPDX-License-Identifier: Apache-2.0
"""The proxy's reasons in words for people: why, and what to do; pure."""

from fodc_protocol.errors import Reason, advice


def advice_for(reason: str) -> str:
    """Return what to do about a reason, "" for a word of a newer proxy."""
    return advice(Reason(reason)) if reason in set(Reason) else ""


def because(reason: str, message: str) -> str:
    """Return reason and message as one text, "" when there is neither."""
    return ": ".join(word for word in (reason, message) if word)


def with_advice(sentence: str, reason: str) -> str:
    """Return the sentence followed by advice, where the reason is known."""
    hint = advice_for(reason)
    return f"{sentence.rstrip('.')}. {hint}" if hint else sentence

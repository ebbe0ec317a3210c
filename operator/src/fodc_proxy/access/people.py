# SPDX-License-Identifier: Apache-2.0
"""People and programs of the cluster: callers that its API server knows by their tokens."""

import base64
import binascii
import json
from typing import Final

from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.callers import Caller, Identified, Method
from fodc_proxy.access.token_reviews import Reviewed, TokenReviews

AUDIENCE: Final = "fodc-proxy"
_GRANTED_BY: Final = "an administrator of the cluster"


class ClusterPeople:
    """Callers by TokenReview; `reviews` remembers and never hangs."""

    fault = ""

    def __init__(self, reviews: TokenReviews) -> None:
        self._reviews = reviews

    def __str__(self) -> str:
        """Say who may ask, for people."""
        return "users and ServiceAccounts of the cluster"

    async def caller_of(self, token: str, peer: str = "") -> Identified:
        """Say whose token this is."""
        match await self._reviews.review(token, audiences_of(token), peer):
            case Reviewed() as found:
                return Caller(
                    found.name,
                    Method.KUBERNETES,
                    groups=found.groups,
                    uid=found.uid,
                    extra=found.extra,
                    granted_by=_GRANTED_BY,
                    ends_ms=found.expires_ms,
                )
            case Denied() | Away() as no:
                return no


def audiences_of(token: str) -> tuple[str, ...]:
    """Return the audience to ask about: ours when the token says so, else the API server's own.

    What the token says is not believed, it only saves a question.
    """
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        told = claims["aud"]
    except (IndexError, binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        return ()
    return (AUDIENCE,) if told == AUDIENCE or (isinstance(told, list) and AUDIENCE in told) else ()

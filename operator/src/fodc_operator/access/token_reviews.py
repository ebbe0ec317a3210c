# SPDX-License-Identifier: Apache-2.0
"""Asks the API server whose a token is: the proxy's port TokenReviewer.

The one idea: what the server says is read strictly, since a yes that was misread lets somebody in;
its own words go to the caller, a token goes nowhere.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Final

from fodc_kube import kinds
from fodc_kube.client import Cluster
from fodc_kube.errors import ClusterError
from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.bearer import Review, Reviewed

DEADLINE_S: Final = 2.5
"""Of all attempts of one review; a little less than whoever asks waits."""
_SHOWN: Final = 200
_NOT_ITS_OWN: Final = (
    "the token is not valid: expired, revoked, its pod is gone, or not issued here"
)


class ClusterTokenReviews:
    """Reviews tokens through `authentication.k8s.io`; needs `create` on `tokenreviews`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def review(self, token: str, audiences: tuple[str, ...]) -> Review:
        """Return whose a token is."""
        spec = {"token": token, "audiences": list(audiences)}
        try:
            said = await self._cluster.create(
                kinds.TOKEN_REVIEW, "", {"spec": spec}, deadline_s=DEADLINE_S
            )
        except ClusterError as error:
            return Away(f"the API server cannot review tokens now: {error.message}")
        return _read(said.get("status"), token, audiences)


def _read(status: object, token: str, audiences: tuple[str, ...]) -> Review:
    """Read `status` of a TokenReview; what is not clearly a yes is a no."""
    if not isinstance(status, dict) or status.get("authenticated") is not True:
        return Denied(_why(status, token))
    meant = _texts(status.get("audiences"))
    if audiences and not set(meant) & set(audiences):
        return Denied(f"the token is not meant for {' or '.join(audiences)}")
    user = status.get("user")
    if not isinstance(user, dict) or not isinstance(user.get("username"), str):
        return Denied("the API server names no user of the token")
    extra = user.get("extra")
    return Reviewed(
        user["username"],
        str(user.get("uid") or ""),
        _texts(user.get("groups")),
        {key: _texts(value) for key, value in extra.items()} if isinstance(extra, dict) else {},
        meant,
        _expiry_ms(token),
    )


def _why(status: object, token: str) -> str:
    """Return the server's words, should they not repeat the token."""
    said = status.get("error") if isinstance(status, Mapping) else None
    if not isinstance(said, str) or not said or token in said:
        return _NOT_ITS_OWN
    return f"the token is not valid: {said[:_SHOWN]}"


def _texts(found: object) -> tuple[str, ...]:
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def _expiry_ms(token: str) -> int:
    """Return `exp` of a JSON web token that the server has found valid, 0 for another token."""
    parts = token.split(".")
    if len(parts) != 3:
        return 0
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return int(claims["exp"] * 1000)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError):
        return 0

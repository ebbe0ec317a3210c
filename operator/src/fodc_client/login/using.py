# SPDX-License-Identifier: Apache-2.0
"""The token of a login, renewed when it is about to end."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from fodc_client.errors import RefusedError
from fodc_client.login import keeping
from fodc_client.login.keeping import Login

if TYPE_CHECKING:
    from fodc_client.login.device import Tokens

SOON_S: Final = 30.0
"""A token that ends sooner is renewed before it is used."""


def token_for(
    proxy_url: str,
    environment: Mapping[str, str],
    clock_s: Callable[[], float] = time.time,
) -> str:
    """Return the token of the login for a proxy, empty for none.

    Raises ClientError where the login has ended or cannot be renewed.
    """
    place = keeping.folder(environment)
    found = keeping.of_proxy(place, proxy_url)
    if found is None or not _ends_soon(found, clock_s()):
        return "" if found is None else found.token
    with keeping.alone(place):
        # Another run may have renewed it while this one waited.
        found = keeping.of_proxy(place, proxy_url)
        if found is None or not _ends_soon(found, clock_s()):
            return "" if found is None else found.token
        renewed = _renewed(found, clock_s)
        keeping.write(place, renewed)
    return renewed.token


def _ends_soon(login: Login, now_s: float) -> bool:
    return bool(login.ends_s) and login.ends_s - now_s < SOON_S


def _renewed(login: Login, clock_s: Callable[[], float]) -> Login:
    from fodc_client.login import device  # noqa: PLC0415 - only who renews pays for it
    from fodc_client.login.issuer import Issuer  # noqa: PLC0415 - as above

    over = f"the login at {login.issuer} has ended: `fodc login` again"
    if not login.refresh_token:
        raise RefusedError(over)
    form = {
        "grant_type": "refresh_token",
        "refresh_token": login.refresh_token,
        "client_id": login.client_id,
    }
    issuer = Issuer(login.issuer, ca_file=login.ca_file)
    status, data = issuer.post(login.token_endpoint, form)
    if status != 200:
        told = device.words(*device.refusal_of(data), status)
        raise RefusedError(f"{over} ({told})")
    return with_tokens(login, device.tokens_of(data, login.issuer), clock_s())


def with_tokens(login: Login, given: "Tokens", now_s: float) -> Login:
    """Return the login with what the issuer has given now; an unchanged refresh token stays."""
    return login._replace(
        token=given.shown,
        refresh_token=given.refresh_token or login.refresh_token,
        ends_s=now_s + given.expires_in if given.expires_in > 0 else 0.0,
    )

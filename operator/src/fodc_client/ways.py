# SPDX-License-Identifier: Apache-2.0
"""How the proxy is reached: its URL, and the headers by which it knows who asks.

The one idea: a token is read when something is asked and not before, is sent to the one proxy it is
meant for, and is in no message.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fodc_client.arguments import Settings
from fodc_client.errors import BadUsageError

if TYPE_CHECKING:
    import ssl

_LONGEST_TOKEN: Final = 16 * 1024
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Way:
    """One proxy; `tls` is None for what the system trusts."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: "ssl.SSLContext | None" = None
    is_cluster: bool = False
    """Whether an API server stands between."""


def way_of(settings: Settings) -> Way:
    """Return the way to the proxy; raises BadUsageError for a token that cannot be read."""
    token = _token_of(settings)
    if settings.context is not None:
        from fodc_client.kubeconfig import way_through_cluster  # noqa: PLC0415 - needs a library

        told = (settings.context, settings.kubeconfig, settings.service)
        return way_through_cluster(*told, token)
    token = token or _token_of_login(settings)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Way(settings.proxy_url, headers, _trust(settings.ca_file) if settings.ca_file else None)


def _token_of_login(settings: Settings) -> str:
    """Return the token of `fodc login` for this proxy, empty for none."""
    from fodc_client.login.using import token_for  # noqa: PLC0415 - where no other token is given

    return token_for(settings.proxy_url, os.environ)


def _trust(ca_file: str) -> "ssl.SSLContext":
    import ssl  # noqa: PLC0415 - only who asks for it pays for it

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadUsageError(f"--ca-file: cannot use {ca_file}: {why}") from None


def _token_of(settings: Settings) -> str:
    if not settings.token_file:
        return _checked(settings.token.strip(), "FODC_TOKEN") if settings.token else ""
    try:
        with Path(settings.token_file).expanduser().open("rb") as file:
            data = file.read(_LONGEST_TOKEN + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadUsageError(f"--token-file: cannot read {settings.token_file}: {why}") from None
    return _checked(data.decode("ascii", "replace").strip(), f"--token-file {settings.token_file}")


def _checked(token: str, where: str) -> str:
    if len(token) > _LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise BadUsageError(f"{where} has no token: must be one word of ASCII letters and signs")
    return token

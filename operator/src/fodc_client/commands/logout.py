# SPDX-License-Identifier: Apache-2.0
"""`fodc logout`: forget the login for a proxy, and tell its issuer."""

import argparse
import os
from typing import TYPE_CHECKING

from fodc_client.arguments import Settings, add_verb
from fodc_client.commands import SUMMARIES
from fodc_client.errors import ExitCode, UnreachableError
from fodc_client.output import Output

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers
    from fodc_client.login.keeping import Login


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    add_verb(
        verbs,
        "logout",
        summary=SUMMARIES["logout"],
        examples="""
            fodc logout
            fodc logout --proxy https://fodc.example:17913""",
        run=run,
    )


def run(_args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Forget the token here whatever the issuer says; it is void there only when it says so."""
    from fodc_client.login import keeping  # noqa: PLC0415 - see `commands`

    place = keeping.folder(os.environ)
    found = keeping.of_proxy(place, settings.proxy_url)
    if found is None:
        output.message(f"nobody is logged in for {settings.proxy_url}")
        return ExitCode.OK
    keeping.remove(place, found)
    others = ", ".join(one for one in found.proxies if one != settings.proxy_url)
    output.message(f"logged out at {found.issuer}" + (f", also for {others}" if others else ""))
    if trouble := _revoked(found):
        output.warning(f"{trouble}: what was handed out holds there until it ends")
    return ExitCode.OK


def _revoked(login: "Login") -> str:
    """Have the issuer take back its tokens (RFC 7009); return why it did not, empty when it did."""
    from fodc_client.login.issuer import Issuer  # noqa: PLC0415 - see `commands`

    if not login.revocation_endpoint:
        return f"{login.issuer} takes nothing back"
    form = {"token": login.refresh_token or login.token, "client_id": login.client_id}
    try:
        status, _ = Issuer(login.issuer, ca_file=login.ca_file).post(
            login.revocation_endpoint, form
        )
    except UnreachableError as error:
        return str(error)
    return "" if status == 200 else f"{login.issuer} answered the logout with {status}"

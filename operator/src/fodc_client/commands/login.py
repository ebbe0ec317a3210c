# SPDX-License-Identifier: Apache-2.0
"""`fodc login`: get a token from an issuer of OpenID Connect, by a browser of any machine."""

import argparse
import os
import time
from typing import TYPE_CHECKING, Final

from fodc_client.arguments import Settings, add_verb
from fodc_client.commands import SUMMARIES
from fodc_client.errors import BadUsageError, ExitCode, RefusedError
from fodc_client.output import Output

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers
    from fodc_client.login.device import Device, Discovery, Tokens
    from fodc_client.login.issuer import Issuer
    from fodc_client.login.keeping import Login

DEFAULT_SCOPE: Final = "openid"


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "login",
        summary=SUMMARIES["login"],
        examples="""
            fodc login --issuer https://sso.example/realms/ops --client-id fodc-cli
            fodc login --proxy https://fodc.example:17913""",
        run=run,
    )
    parser.add_argument(
        "--issuer", metavar="URL", default="", help="the issuer, as it names itself"
    )
    parser.add_argument(
        "--client-id", metavar="NAME", default="", help="the public client with the device flow"
    )
    parser.add_argument(
        "--scope",
        metavar="WORDS",
        default=DEFAULT_SCOPE,
        help=f"what is asked for (default: {DEFAULT_SCOPE}); offline_access lasts longest",
    )
    parser.add_argument(
        "--issuer-ca-file",
        metavar="FILE",
        default="",
        help="certificates by which the issuer is known (default: those of the system)",
    )


def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Show where to log in, wait for it, and keep the token for this proxy."""
    from fodc_client.login import keeping, using  # noqa: PLC0415 - see `commands`
    from fodc_client.login.issuer import Issuer  # noqa: PLC0415 - see `commands`

    if settings.context is not None:
        raise BadUsageError("--context takes the token of the kubeconfig: nothing to log in to")
    place = keeping.folder(os.environ)
    asked = _asked(args, keeping.of_proxy(place, settings.proxy_url))
    issuer = Issuer(asked.issuer, ca_file=asked.ca_file)
    where = _discovered(issuer)
    given = _logged_in(issuer, where, asked.client_id, args.scope, output)
    known = next((one for one in keeping.kept(place) if one.issuer == asked.issuer), asked)
    proxies = dict.fromkeys((*known.proxies, settings.proxy_url))
    login = asked._replace(
        token_endpoint=where.token_endpoint,
        revocation_endpoint=where.revocation_endpoint,
        refresh_token="",
        proxies=tuple(proxies),
    )
    keeping.write(place, using.with_tokens(login, given, time.time()))
    output.message(f"logged in at {asked.issuer} for {settings.proxy_url}")
    return ExitCode.OK


def _asked(args: argparse.Namespace, before: "Login | None") -> "Login":
    """Return whom to ask; what is left out is as it was the last time."""
    from fodc_client.login.device import wrong_url  # noqa: PLC0415 - see `commands`
    from fodc_client.login.keeping import Login  # noqa: PLC0415 - see `commands`

    known = before or Login("", "", "", "")
    issuer, client_id = args.issuer or known.issuer, args.client_id or known.client_id
    if not issuer or not client_id:
        raise BadUsageError(
            "nobody has logged in for this proxy yet: give --issuer and --client-id"
        )
    if wrong := wrong_url(issuer):
        raise BadUsageError(f"--issuer {wrong}")
    ca_file = args.issuer_ca_file or (known.ca_file if issuer == known.issuer else "")
    return Login(issuer, client_id, "", "", ca_file=ca_file)


def _discovered(issuer: "Issuer") -> "Discovery":
    from fodc_client.login import device  # noqa: PLC0415 - see `commands`

    status, data = issuer.get(issuer.url.rstrip("/") + device.DISCOVERY)
    if status != 200:
        raise RefusedError(f"{issuer.url} answers its discovery with {status}: is it an issuer?")
    return device.discovery_of(data, issuer.url)


def _logged_in(
    issuer: "Issuer", where: "Discovery", client_id: str, scope: str, output: Output
) -> "Tokens":
    from fodc_client.login import device  # noqa: PLC0415 - see `commands`

    if not where.device_authorization_endpoint:
        raise RefusedError(f"{issuer.url} has no device flow: let its administrator allow it")
    form = {"client_id": client_id, "scope": scope}
    status, data = issuer.post(where.device_authorization_endpoint, form)
    if status != 200:
        told = device.words(*device.refusal_of(data), status)
        raise RefusedError(f"{issuer.url} does not let {client_id} log in: {told}")
    asked = device.device_of(data, issuer.url)
    output.message(_invitation(asked))
    return _waited(issuer, where.token_endpoint, client_id, asked)


def _invitation(asked: "Device") -> str:
    short = f"open {asked.verification_uri} and enter the code {asked.user_code}"
    return (
        f"{short}\n  or {asked.verification_uri_complete}"
        if asked.verification_uri_complete
        else short
    )


def _waited(issuer: "Issuer", endpoint: str, client_id: str, asked: "Device") -> "Tokens":
    from fodc_client.login import device  # noqa: PLC0415 - see `commands`

    form = {"grant_type": device.GRANT, "device_code": asked.device_code, "client_id": client_id}
    pause_s = device.first_pause_s(asked)
    ends_s = time.monotonic() + min(asked.expires_in, device.LONGEST_WAIT_S)
    while time.monotonic() + pause_s < ends_s:
        time.sleep(pause_s)
        found = device.polled(*issuer.post(endpoint, form), pause_s, issuer.url)
        if isinstance(found, device.Tokens):
            return found
        pause_s = found.pause_s
    raise RefusedError(f"{issuer.url}: nobody has logged in in time: `fodc login` again")

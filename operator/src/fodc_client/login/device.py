# SPDX-License-Identifier: Apache-2.0
"""The device flow (RFC 8628) as decisions: what an issuer said, and what to do next; pure.

The one idea: the person logs in where they trust the page, in a browser of any machine; this
program never sees a password, and what an issuer says is checked before anybody is sent anywhere.
"""

import ipaddress
import math
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from fodc_client.errors import BadAnswerError, RefusedError

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
DISCOVERY: Final = "/.well-known/openid-configuration"
SLOWER_S: Final = 5.0
LEAST_PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 60.0
LONGEST_WAIT_S: Final = 1800.0
_LONGEST_TOKEN: Final = 16 * 1024
_LONGEST_WORD: Final = 200
_MOST_S: Final = 10 * 365 * 86_400.0
SaidT = TypeVar("SaidT")


class Discovery(msgspec.Struct, frozen=True):
    """Where an issuer answers."""

    issuer: str
    token_endpoint: str
    device_authorization_endpoint: str = ""
    revocation_endpoint: str = ""


class Device(msgspec.Struct, frozen=True):
    """What the person has to do, within seconds from now."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float
    verification_uri_complete: str = ""
    interval: float = 5.0


class Tokens(msgspec.Struct, frozen=True):
    """What a login gives; `expires_in` in seconds from now, 0 when it is not told."""

    access_token: str
    id_token: str = ""
    refresh_token: str = ""
    expires_in: float = 0.0

    @property
    def shown(self) -> str:
        """The token that the proxy can check: a signed one, whichever of the two that is."""
        is_signed = self.access_token.count(".") == 2
        return self.access_token if is_signed or not self.id_token else self.id_token


class _Refusal(msgspec.Struct, frozen=True):
    error: str
    error_description: str = ""


class Again(msgspec.Struct, frozen=True):
    """The person has not finished: ask again after a pause in seconds."""

    pause_s: float


def discovery_of(data: bytes, issuer: str) -> Discovery:
    """Return where an issuer answers; raises BadAnswerError for one that is not who was asked."""
    found = _read(data, Discovery, issuer)
    if found.issuer != issuer:
        raise BadAnswerError(f"{issuer} says that it is another issuer: give its URL as it has it")
    for endpoint in (
        found.token_endpoint,
        found.device_authorization_endpoint,
        found.revocation_endpoint,
    ):
        if endpoint and (wrong := wrong_url(endpoint)):
            raise BadAnswerError(f"{issuer}: one of its endpoints {wrong}")
    return found


def device_of(data: bytes, issuer: str) -> Device:
    """Return what the person has to do; raises BadAnswerError."""
    found = _read(data, Device, issuer)
    for url in (found.verification_uri, found.verification_uri_complete):
        if url and (wrong_url(url) or not _is_word(url)):
            raise BadAnswerError(f"{issuer}: the page where to log in must be a plain https URL")
    if not _is_word(found.user_code) or not 0 < found.expires_in < _MOST_S:
        raise BadAnswerError(f"{issuer}: the code to log in by cannot be read")
    return found


def first_pause_s(device: Device) -> float:
    """Return how long to wait before each question."""
    asked = LEAST_PAUSE_S if math.isnan(device.interval) else device.interval
    return min(max(asked, LEAST_PAUSE_S), MOST_PAUSE_S)


def polled(status: int, data: bytes, pause_s: float, issuer: str) -> Tokens | Again:
    """Return the tokens, or when to ask again; raises RefusedError when it has come to nothing."""
    if status == 200:
        return tokens_of(data, issuer)
    match refusal_of(data):
        case ("authorization_pending", _):
            return Again(pause_s)
        case ("slow_down", _):
            return Again(min(pause_s + SLOWER_S, MOST_PAUSE_S))
        case ("access_denied", _):
            raise RefusedError(f"{issuer}: the login was refused there")
        case ("expired_token", _):
            raise RefusedError(f"{issuer}: nobody has logged in in time: `fodc login` again")
        case (error, told):
            raise RefusedError(f"{issuer} refused the login: {words(error, told, status)}")


def tokens_of(data: bytes, issuer: str) -> Tokens:
    """Return what a login gave; raises BadAnswerError."""
    found = _read(data, Tokens, issuer)
    given = (found.access_token, found.id_token, found.refresh_token)
    if not found.access_token or any(len(one) > _LONGEST_TOKEN for one in given):
        raise BadAnswerError(f"{issuer}: its tokens cannot be read")
    if any(not one.isascii() or not one.isprintable() or " " in one for one in given):
        raise BadAnswerError(f"{issuer}: its tokens cannot be read")
    return found


def refusal_of(data: bytes) -> tuple[str, str]:
    """Return the word and the sentence of a refusal (RFC 6749 §5.2), empty for anything else."""
    try:
        said = msgspec.json.decode(data, type=_Refusal)
    except (msgspec.MsgspecError, ValueError):
        return "", ""
    return said.error, said.error_description


def words(error: str, told: str, status: int) -> str:
    """Return what an issuer says of a refusal, as one short line without anything else."""
    text = f"{error}: {told}" if told else error or f"HTTP {status}"
    return "".join(one if one.isprintable() else " " for one in text)[:_LONGEST_WORD]


def wrong_url(url: str) -> str:
    """Say what is wrong with a URL of an issuer, empty when nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "is no URL"
    if not host or parts.scheme not in {"https", "http"}:
        return "must be an https URL"
    if parts.scheme == "http" and not _is_near(host):
        return "must begin with https, unless it is of this machine"
    if parts.username or parts.password or parts.fragment:
        return "must have neither a password nor a fragment"
    return ""


def _is_near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_word(text: str) -> bool:
    return 0 < len(text) <= 2048 and text.isprintable()


def _read(data: bytes, kind: type[SaidT], issuer: str) -> SaidT:
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadAnswerError(f"{issuer} answers what cannot be read: is it an issuer?") from None

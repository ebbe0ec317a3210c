# SPDX-License-Identifier: Apache-2.0
"""Secrets that show by their own shape: private keys, credentials in addresses, well-known tokens.

The one idea: each rule finds a short fixed beginning and then takes everything up to a fixed kind
of end, so that no text makes it look at a place more often than a constant number of times.
"""

import binascii
import re
from typing import Final

MASK: Final = "***"

# ---- private keys ---------------------------------------------------------------------------

_KEY_BEGINS: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY( BLOCK)?-----")
_KEY_ENDS: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY( BLOCK)?-----")


def without_private_keys(text: str) -> str:
    """Mask PEM blocks of private keys; one without an end is masked to the end of the text."""
    parts: list[str] = []
    at = 0
    while begin := _KEY_BEGINS.search(text, at):
        parts += [text[at : begin.start()], MASK]
        end = _KEY_ENDS.search(text, begin.end())
        at = end.end() if end else len(text)
    return "".join([*parts, text[at:]])


# ---- addresses ------------------------------------------------------------------------------

# A quote ends an address only where a text would go on after it: a password may hold one.
_RUN: Final = re.compile(r"""(?:[^\s"'`]+|["'`](?![\s,:;}\])]|\Z|\\))+""")
_USER: Final = re.compile(r"[^\s:@/?#]{0,200}")
_PORT: Final = re.compile(r"""\d{0,5}(?=[/?#,;\\)\]}>"'`]|\Z)""")
# What chat programs, clouds and bots take for a password: the path behind these words.
_HOOK: Final = re.compile(
    r"/(?:hooks?|webhooks?|webhookb2|incoming|services/T\w{1,20}|triggers|workflows|bot(?=\d+:)\w*)[/:]"
)
_QUERY: Final = re.compile(r"(?i)(?<=[?&])(code|key|k)=[^&#\s]+")
_LOGIN_BEFORE: Final = re.compile(r"[\w.+%-]{0,64}\Z")
_AFTER_LOGIN: Final = re.compile(r"(?!sha\d{3}:)[\w\[(/.-]")
_NO_LOGINS: Final = frozenset(
    {"mailto", "pkg", "sip", "sips", "acct", "xmpp", "im", "urn", "docker"}
)


def without_url_credentials(text: str) -> str:
    """Mask `user:password@` of URLs and of addresses without a scheme, and paths of chat hooks."""
    if "@" not in text and "://" not in text:
        return text
    return _RUN.sub(lambda found: _without_credentials(found[0]), text)


def _without_credentials(run: str) -> str:
    scheme_at = run.find("://")
    if scheme_at < 0:
        return _without_login(run) if "@" in run and ":" in run else run
    head, *addresses = run.split("://")
    at_follows = False
    for index in range(len(addresses) - 1, -1, -1):
        has_at = "@" in addresses[index]
        addresses[index] = _masked_address(addresses[index], at_follows=at_follows)
        at_follows = at_follows or has_at
    return "://".join([_without_login(head), *addresses])


def _masked_address(address: str, *, at_follows: bool) -> str:
    """Mask what stands behind `://`; a password may hold "/", "@" and even another `://`."""
    user = _USER.match(address, address.find("]") + 1 if address.startswith("[") else 0)
    after = user.end() if user else 0
    sign = address[after : after + 1]
    last = address.rfind("@")
    if sign == "@" and after:
        address = MASK + address[after:]
    elif sign == ":" and _PORT.match(address, after + 1) is None:
        if last > after:
            address = address[: after + 1] + MASK + address[last:]
        elif at_follows:
            address = address[: after + 1] + MASK
    if hook := _HOOK.search(address):
        return address[: hook.end()] + MASK
    return _QUERY.sub(rf"\1={MASK}", address)


def _without_login(run: str) -> str:
    """Mask `user:password@host` and Go's `user:password@tcp(host)`; an image's digest is none."""
    colon, last = run.find(":"), run.rfind("@")
    if not 0 <= colon < last - 1 or _AFTER_LOGIN.match(run, last + 1) is None:
        return run
    user = _LOGIN_BEFORE.search(run, max(colon - 64, 0), colon)
    if user is not None and user[0].lower() in _NO_LOGINS:
        return run
    return run[: colon + 1] + MASK + run[last:]


# ---- tokens ---------------------------------------------------------------------------------

_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"gh[pousr]_(?=\w{16})|github_pat_(?=\w{16})|gl(?:pat|dt|rt|ptt|soat|cbt|agent)-(?=[\w-]{16})|"
    r"xox[abeoprs]-(?=[\w-]{8})|xapp-(?=[\w-]{8})|"
    r"sk-(?=[\w-]{16})(?=[\w-]{0,60}\d)|[sr]k_(?:live|test)_(?=\w{10})|"
    r"AIza(?=[\w-]{30})|ya29\.(?=[\w-]{10})|(?:AKIA|ASIA|ABIA|ACCA)(?=[A-Z0-9]{16})|"
    r"npm_(?=\w{30})|pypi-(?=[\w-]{16})|dop_v1_(?=\w{16})|hv[sb]\.(?=[\w-]{16})|"
    r"SG\.(?=[\w-]{16})|hf_(?=\w{16})|AGE-SECRET-KEY-|eyJ(?=[\w-]{6,64}\.?)"
    r")[\w.~+/=-]*"
)
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic|negotiate)([ \t]{1,8}|%20)([\w.~+/=%-]{8,})")
_SAID_OF_BEARERS: Final = frozenset(
    ["authentication", "authorization", "authenticate", "required", "credentials"]
)
_AWS_SECRET: Final = re.compile(
    r"(?<![A-Za-z0-9/+])(?=[^A-Z]{0,39}[A-Z])(?=[^a-z]{0,39}[a-z])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
)
_CLASS_CHANGES: Final = re.compile(r"(?<=[a-z])[A-Z0-9]|(?<=[A-Z])[a-z0-9]|(?<=\d)[A-Za-z]")


def without_tokens(text: str) -> str:
    """Mask bearers, JWTs and the keys of forges, clouds and chats that have a known beginning."""
    text = _TOKEN.sub(_masked_token, text)
    text = _BEARER.sub(_masked_bearer, text)
    return _AWS_SECRET.sub(_masked_aws_secret, text)


def _masked_token(found: re.Match[str]) -> str:
    is_word = found[0].startswith("eyJ") and "." not in found[0]
    return found[0] if is_word else MASK


def _masked_bearer(found: re.Match[str]) -> str:
    scheme, gap, given = found.groups()
    is_prose = given.lower().rstrip(".") in _SAID_OF_BEARERS
    if is_prose or (scheme.lower() == "basic" and decoded(given) is None):
        return found[0]
    return f"{scheme}{gap}{MASK}"


def _masked_aws_secret(found: re.Match[str]) -> str:
    """Mask 40 characters of base64 that change their class as often as chance has it."""
    return MASK if len(_CLASS_CHANGES.findall(found[0])) >= 8 else found[0]


# ---- encodings ------------------------------------------------------------------------------

_PERCENT: Final = re.compile(r"%([2-7][0-9A-Fa-f])")
_KEPT_ENCODED: Final = frozenset(" &,;")
BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_LOGIN: Final = re.compile(r"[\w.@+-]{1,64}:\S+")


def percent_decoded(word: str) -> str:
    """Return `word` with its %XX of visible ASCII undone, but for what would cut it in pieces."""
    return _PERCENT.sub(_percent_char, word)


def _percent_char(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return found[0] if char in _KEPT_ENCODED or char == "\x7f" else char


def decoded(word: str) -> str | None:
    """Return the readable text that base64 `word` stands for, None when it is no such text."""
    bare = word.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = binascii.a2b_base64(bare + "=" * (-len(bare) % 4))
        text = data.decode("ascii")
    except ValueError:
        return None
    return text if len(text) >= 5 and text.strip("\r\n\t").isprintable() else None


def is_login(text: str) -> bool:
    """Say whether a decoded text is `user:password` alone."""
    return _LOGIN.fullmatch(text) is not None

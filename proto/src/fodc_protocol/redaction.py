# SPDX-License-Identifier: Apache-2.0
"""Takes secrets out of arguments, environment and configuration before anybody sees them.

The one idea: the name decides first (a password, token or key is masked whatever it looks like,
unless the name says that it is only a path, a size or a switch), then the value's own shape does
(credentials in URLs, `password=...` inside texts, bearer tokens, private keys).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MASK: Final = "***"


@dataclass(frozen=True, slots=True)
class Redacted:
    """A value fit to be shown, and whether something was taken out of it."""

    value: str
    redacted: bool


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Anywhere in the name, also without a separator: `dbpassword`, `APIKEY`. A tokenizer is no token.
_STRONG: Final = re.compile(
    r"passw|passphrase|secret|token(?!i[sz])|credential|apikey|privatekey|accesskey|signingkey"
)
# Only as a word of its own: `tls-key`, but not `keyspace`; `auth`, but not `author`.
_WEAK_WORDS: Final = _words(
    "key keys auth authorization authentication dsn pwd pass cookie cookies bearer sas jwt pem "
    "signature salt creds cred"
)
# The last word of names that only describe a secret, or say where it lies.
_HARMLESS_ENDS: Final = _words(
    "file files path paths dir directory enabled enable disabled mode type kind algorithm timeout "
    "ttl interval period duration age size sizes bytes length len count limit range ranges port "
    "header rate issuer audience scheme"
)
_HARMLESS_VALUES: Final = frozenset({"", "true", "false", "0", "1", MASK})
_NAME_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def is_secret_name(name: str) -> bool:
    """Say whether a flag, variable or key of this name holds a secret.

    `db-password`, `BYDB_TLS_KEY`, `apiKey` do; `--auth-config-file`, `TLS_KEY_FILE` and
    `schema-key-range` do not: their last word says so.
    """
    words = [word.lower() for word in _NAME_PARTS.findall(name)]
    if not words or words[-1] in _HARMLESS_ENDS:
        return False
    return not _WEAK_WORDS.isdisjoint(words) or _STRONG.search("".join(words)) is not None


def redact_value(name: str, value: str) -> Redacted:
    """Return the value of `name` as it may be shown; switches stay readable."""
    if is_secret_name(name) and value.lower() not in _HARMLESS_VALUES:
        return Redacted(MASK, redacted=True)
    return redact_text(value)


# ---- the value's own shape ------------------------------------------------------------------

_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
# user:password@ of a URL. A password may hold "/" or "@"; a port followed by a path is none.
_URL_PASSWORD: Final = re.compile(r"(://[^\s:@/?#]*:)(?!\d*(?:[/?#,;]|\Z))[^\s]*@")
_URL_USER: Final = re.compile(r"(://)(?!\*\*\*@)[^\s:@/?#]+@")
_BEARER: Final = re.compile(r"\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_TOKEN_SHAPES: Final = re.compile(
    r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{30,}"
)
_INNER_NAME: Final = re.compile(r"""(?P<name>[\w.-]{2,80})["']?\s*[=:]\s*""")
_INNER_VALUE: Final = re.compile(r""""[^"]*"|'[^']*'|[^\s,;&"']+""")


def redact_text(text: str) -> Redacted:
    """Mask what looks like a secret inside any text: URLs, `token=...` pairs, keys, bearers."""
    clean = _PRIVATE_KEY.sub(MASK, text)
    clean = _URL_PASSWORD.sub(rf"\1{MASK}@", clean)
    clean = _URL_USER.sub(rf"\1{MASK}@", clean)
    clean = _BEARER.sub(rf"\1\2{MASK}", clean)
    clean = _TOKEN_SHAPES.sub(MASK, clean)
    clean = _without_secret_pairs(clean)
    return Redacted(clean, redacted=clean != text)


def _without_secret_pairs(text: str) -> str:
    """Mask values behind secret names; a value may itself hold pairs (`error: token=x`)."""
    parts: list[str] = []
    shown = at = 0
    while found := _INNER_NAME.search(text, at):
        at = found.end()
        value = _INNER_VALUE.match(text, at) if is_secret_name(found["name"]) else None
        if value is None or _is_harmless(value[0].strip("\"'")):
            continue
        parts += [text[shown:at], MASK]
        shown = at = value.end()
    return "".join([*parts, text[shown:]])


def _is_harmless(value: str) -> bool:
    return value.lower() in _HARMLESS_VALUES or value.startswith(("//", MASK))


# ---- arguments and environment --------------------------------------------------------------


def redact_argv(argv: Sequence[str]) -> list[Redacted]:
    """Return arguments fit to be shown: `--flag=value` and `--flag value`, one or two dashes."""
    shown: list[Redacted] = []
    awaiting = ""
    for argument in argv:
        is_flag = argument.startswith("--") or (argument.startswith("-") and not awaiting)
        name, separator, value = argument.partition("=")
        if is_flag and separator:
            inner = redact_value(name, value)
            shown.append(Redacted(f"{name}={inner.value}", inner.redacted))
            awaiting = ""
        elif is_flag:
            shown.append(Redacted(argument, redacted=False))
            awaiting = argument
        else:
            shown.append(redact_value(awaiting, argument))
            awaiting = ""
    return shown


def redact_environ(environ: Mapping[str, str]) -> dict[str, Redacted]:
    """Return environment variables fit to be shown."""
    return {name: redact_value(name, value) for name, value in environ.items()}

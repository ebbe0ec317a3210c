# SPDX-License-Identifier: Apache-2.0
"""What the name of a flag, variable, key or header says about the value behind it.

The one idea: a name is cut into words; a few words make it secret, and a few last words (a path, a
size, a switch) make it harmless again, but only for values that look like what was announced.
"""

import re
from enum import Enum
from typing import Final


class Meaning(Enum):
    """What has to be done with the value of a name."""

    PLAIN = "plain"
    """Nothing by the name; the value's own shape decides."""
    SECRET = "secret"  # noqa: S105 - a word of this table
    """The value is masked whatever it looks like."""
    LINE = "line"
    """Secret, and the value goes to the end of its line: `Authorization: Token abc`."""
    LOGIN = "login"
    """A user that may carry its password: `admin:abc`."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Anywhere in the name, also without a separator: `dbpassword`, `APIKEY`. A tokenizer is no token.
_STRONG: Final = re.compile(
    r"passw|passphrase|passcode|secret|token(?!i[sz])|credential|apikey|privatekey|accesskey|"
    r"signingkey|sessionid|sessid"
)
# Only as a word of its own: `tls-key`, but not `keyspace`; `auth`, but not `author`.
_WEAK: Final = _words(
    "key keys auth authorization authentication oauth dsn pwd cookie cookies bearer sas jwt pem "
    "signature salt creds cred otp totp hmac psk"
)
# Short words that are secret at the end of a name: `--pin`, `db-pass`, but not `pin-threads`.
_WEAK_AT_END: Final = _words("pass pw pin sig sid")
_LINES: Final = _words("authorization cookie cookies")
_LOGINS: Final = _words("u user username userinfo login userpass")
# Words before `key` that make it the key of data: `primary-key`, `sort-keys`, `public-key`.
_DATA_KEYS: Final = _words(
    "primary sort partition foreign index group cache row shard entity routing unique public hash "
    "map label tag series schema composite natural order"
)
_COUNTS: Final = _words("max min num count total per avg")

# Last words of names that describe a secret or say where it lies, and how such values look.
_PATH_ENDS: Final = _words("file files path paths dir directory")
_SWITCH_ENDS: Final = _words("enabled enable disabled")
_FIGURE_ENDS: Final = _words(
    "timeout ttl interval period duration age size sizes bytes length len count counts limit "
    "limits range ranges port rate rotation retries version bits second minute"
)
_WORD_ENDS: Final = _words("policy name names issuer audience algorithm provider endpoint url uri")
# These are believed for weak words only: `--passphrase-mode=x` may well be the passphrase.
_WEAK_ENDS: Final = _WORD_ENDS | _words("mode type kind scheme prefix suffix cache space format")

_SWITCH: Final = re.compile(r"(?i:true|false|yes|no|on|off|0|1|)")
_FIGURE: Final = re.compile(
    r"[-+]?\d[\d.]{0,18}[A-Za-zµ%]{0,7}(?:[-:,/]\d[\d.]{0,18}[A-Za-z%]{0,7})?"
)
_WORD: Final = re.compile(r"[A-Za-z]{1,20}(?:[-_ ][A-Za-z]{1,20}){0,5}|\w{2,10}://\S{0,200}")
_NAME_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

HARMLESS_VALUES: Final = _words("true false yes no on off null none nil 0 1") | {"", "~"}
"""Values (lower case) that are nobody's secret: switches stay readable."""


def meaning_of(name: str, value: str = "") -> Meaning:
    """Say what `name` demands for `value`.

    `db-password`, `BYDB_TLS_KEY`, `apiKey` are secret; `auth-config-file`, `TLS_KEY_FILE` and
    `key-range` are not, and `password-length` only while the value is a figure.
    """
    words = [word.lower() for word in _NAME_PARTS.findall(name)]
    if not words:
        return Meaning.PLAIN
    strong = _STRONG.search("".join(words)) is not None
    if not strong and not _is_weak(words):
        return Meaning.LOGIN if words[-1] in _LOGINS else Meaning.PLAIN
    if _is_described(words, value, strong=strong):
        return Meaning.PLAIN
    return Meaning.SECRET if _LINES.isdisjoint(words[-1:]) else Meaning.LINE


def is_secret_name(name: str) -> bool:
    """Say whether a value of this name is masked whatever it looks like."""
    return meaning_of(name) in {Meaning.SECRET, Meaning.LINE}


def holds_sections(name: str) -> bool:
    """Say whether a nested value of this name is a group of settings that speak for themselves."""
    words = _NAME_PARTS.findall(name.lower())
    return bool(words) and words[-1] in {"auth", "authentication", "authorization", "oauth"}


def _is_weak(words: list[str]) -> bool:
    if words[-1] in _WEAK_AT_END:
        return True
    found = [at for at, word in enumerate(words) if word in _WEAK]
    return any(
        not words[at].startswith("key") or at == 0 or words[at - 1] not in _DATA_KEYS
        for at in found
    )


def _is_described(words: list[str], value: str, *, strong: bool) -> bool:
    """Say whether the name only describes a secret and the value is of the described form."""
    end = words[-1]
    if end in _PATH_ENDS:
        return True
    if end in _SWITCH_ENDS:
        return _fits(_SWITCH, value)
    if end in _FIGURE_ENDS or not _COUNTS.isdisjoint(words):
        return not strong or _fits(_FIGURE, value)
    if not strong:
        return end in _WEAK_ENDS
    return end in _WORD_ENDS and _fits(_WORD, value)


def _fits(form: re.Pattern[str], value: str) -> bool:
    return not value or form.fullmatch(value) is not None

# SPDX-License-Identifier: Apache-2.0
"""Takes secrets out of arguments, environment, configuration and texts before anybody sees them.

The one idea: the name decides first (a password, token or key is masked whatever it looks like,
unless the name says that it is only a path, a size or a switch), then the value's own shape does.
Every text goes through the same few rules, each in one pass whose work grows with the length only,
and the answer says which of them took something out.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.redaction.names import Meaning, is_secret_name
from fodc_protocol.redaction.pairs import (
    flag_meaning,
    is_worth_hiding,
    password_of_login,
    without_secret_pairs,
)
from fodc_protocol.redaction.shapes import (
    BASE64,
    MASK,
    decoded,
    is_login,
    percent_decoded,
    without_private_keys,
    without_tokens,
    without_url_credentials,
)

__all__ = [
    "MASK",
    "Redacted",
    "Rule",
    "is_secret_name",
    "redact_argv",
    "redact_environ",
    "redact_foreign",
    "redact_text",
    "redact_value",
    "takes_next",
]


class Rule(StrEnum):
    """What gave a secret away."""

    NAME = "name"
    """The name of the setting, variable, header or key before it."""
    PRIVATE_KEY = "private-key"
    ADDRESS = "address"
    """Credentials in a URL, a connection string, or the path of a chat hook."""
    TOKEN = "token"  # noqa: S105 - the name of a rule
    """A bearer, a JWT, or a key with a well-known beginning."""
    ENCODING = "encoding"
    """One of the other rules, after percent-encoding or base64 was undone."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A value fit to be shown, and the rules that took something out of it."""

    value: str
    rules: tuple[Rule, ...] = ()

    @property
    def redacted(self) -> bool:
        """Whether something was taken out."""
        return bool(self.rules)


def redact_value(name: str, value: str) -> Redacted:
    """Return the value of `name` as it may be shown; switches stay readable."""
    meaning = flag_meaning(name, value)
    if meaning is Meaning.LOGIN and (span := password_of_login(value, 0)):
        return Redacted(value[: span[0]] + MASK, (Rule.NAME,))
    if meaning in {Meaning.SECRET, Meaning.LINE}:
        return Redacted(MASK, (Rule.NAME,)) if is_worth_hiding(value) else Redacted(value)
    return redact_text(value)


def redact_text(text: str) -> Redacted:
    """Mask what looks like a secret inside any text: a log line, JSON, YAML, a URL, an error."""
    return _redacted(text, _DEEPEST)


_DEEPEST: Final = 3
"""How many encodings around each other are undone."""
_RULES: Final[tuple[tuple[Rule, Callable[[str], str]], ...]] = (
    (Rule.PRIVATE_KEY, without_private_keys),
    (Rule.ADDRESS, without_url_credentials),
    (Rule.NAME, without_secret_pairs),
    (Rule.TOKEN, without_tokens),
)


def _redacted(text: str, depth: int) -> Redacted:
    rules: list[Rule] = []
    if depth and ("\\n" in text or "\\u" in text):
        text = _without_escaped(text, depth, rules)
    for rule, take_out in _RULES:
        clean = take_out(text)
        if clean != text:
            rules.append(rule)
            text = clean
    if depth and (clean := _without_encoded(text, depth)) != text:
        return Redacted(clean, (*rules, Rule.ENCODING))
    return Redacted(text, tuple(dict.fromkeys(rules)))


# A text in double quotes; one without an end goes to the end, so that no place is read twice.
_LITERAL: Final = re.compile(r"\"((?:[^\"\\]++|\\.)*+)(\"|\\?\Z)", re.DOTALL)
_RUN: Final = re.compile(r"[^\s\"'<>]+")


def _without_escaped(text: str, depth: int, rules: list[Rule]) -> str:
    """Mask inside JSON strings that hold lines: a file in a ConfigMap has its layout escaped."""

    def literal(found: re.Match[str]) -> str:
        if "\\n" not in found[1] and "\\u" not in found[1]:
            return found[0]
        try:
            plain = json.loads(f'"{found[1]}"', strict=False)
        except ValueError:
            return found[0]
        inner = _redacted(plain, depth - 1)
        rules.extend(inner.rules)
        return json.dumps(inner.value)[:-1] + found[2] if inner.redacted else found[0]

    return _LITERAL.sub(literal, text)


def _without_encoded(text: str, depth: int) -> str:
    """Look behind percent-encoding and base64, and show only what hides nothing there."""

    def percent(found: re.Match[str]) -> str:
        plain = percent_decoded(found[0])
        inner = _redacted(plain, depth - 1) if plain != found[0] else None
        return inner.value if inner and inner.redacted else found[0]

    def hides(word: str) -> bool:
        plain = decoded(word)
        return plain is not None and (is_login(plain) or _redacted(plain, depth - 1).redacted)

    def base64(found: re.Match[str]) -> str:
        if hides(found[0]):
            return MASK
        pieces = found[0].split("/")
        return "/".join(MASK if len(piece) >= 8 and hides(piece) else piece for piece in pieces)

    if "%" in text:
        text = _RUN.sub(percent, text)
    return BASE64.sub(base64, text)


def redact_foreign(text: str | bytes, max_chars: int = 200) -> str:
    """Return one line of what a node or a peer said, fit for a log, a condition or an answer.

    Everything behind the first 16 KiB is dropped unread; blanks and control characters become
    single spaces, secrets are masked, and the rest is cut to `max_chars` with an ellipsis.
    """
    head = text[:_FOREIGN_CHARS]
    readable = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    shown = _UNREADABLE.sub(" ", redact_text(readable).value).strip()
    return shown if len(shown) <= max_chars else shown[: max_chars - 1] + "…"


_FOREIGN_CHARS: Final = 16 << 10
_UNREADABLE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\ud800-\udfff]+")


# ---- arguments and environment --------------------------------------------------------------

_OTHER_FLAG: Final = re.compile(r"--[A-Za-z][\w.-]*=")


def takes_next(flag: str, following: str) -> bool:
    """Say whether a flag without a value of its own swallows the argument that follows.

    Of a secret flag the next one is the value even when it begins with a dash, as Go reads it,
    unless it is plainly another setting (`--name=value`).
    """
    if flag_meaning(flag) in {Meaning.SECRET, Meaning.LINE} and not _is_switch(flag):
        return _OTHER_FLAG.match(following) is None
    return not following.startswith("-") or following == "-"


def _is_switch(flag: str) -> bool:
    return flag.lstrip("-").lower().partition("-")[0] in {
        "enable",
        "disable",
        "no",
        "use",
        "require",
    }


def redact_argv(argv: Sequence[str]) -> list[Redacted]:
    """Return arguments fit to be shown: `--flag=value` and `--flag value`, one or two dashes."""
    shown: list[Redacted] = []
    waiting = ""
    for argument in argv:
        if waiting and takes_next(waiting, argument):
            shown.append(redact_value(waiting, argument))
            waiting = ""
            continue
        name, separator, value = argument.partition("=")
        is_flag = argument.startswith("-")
        waiting = argument if is_flag and not separator and ":" not in argument else ""
        if is_flag and separator:
            inner = redact_value(name, value)
            shown.append(Redacted(f"{name}={inner.value}", inner.rules))
        else:
            shown.append(redact_text(argument))
    return shown


def redact_environ(environ: Mapping[str, str]) -> dict[str, Redacted]:
    """Return environment variables fit to be shown."""
    return {name: redact_value(name, value) for name, value in environ.items()}

# SPDX-License-Identifier: Apache-2.0
"""The file of tokens for a laptop or a machine: one line `name role token` per caller; pure.

The one idea: what is kept of a token is its digest, so nothing here can tell one, and looking a
digest up takes a time that says nothing about the tokens.
"""

import re
from collections.abc import Mapping
from typing import Final

from fodc_protocol.errors import BadRequestError
from fodc_proxy.access.bearer import digest_of, written_digest
from fodc_proxy.access.callers import Caller, Method
from fodc_proxy.access.roles import Role

OPTION: Final = "http-tokens-file"
MAX_TOKEN_LENGTH: Final = 16 * 1024
_MIN_TOKEN_LENGTH: Final = 16
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}")


def callers_by_digest(text: str) -> Mapping[bytes, Caller]:
    """Return who has which token; raises BadRequestError naming the line, never a token.

    A token is written as it is sent, or as `sha256:` and its hexadecimal digest.
    """
    found: dict[bytes, Caller] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        digest, caller = _entry(words, number)
        if digest in found:
            raise BadRequestError(f"line {number} has the token of {found[digest].name} again")
        found[digest] = caller
    return found


def _entry(words: list[str], number: int) -> tuple[bytes, Caller]:
    if len(words) != 3:
        raise BadRequestError(f"line {number} has {len(words)} words: must be `name role token`")
    name, role, token = words
    if not _NAME.fullmatch(name):
        raise BadRequestError(f"line {number}: the name must be letters, digits and ._@:/-")
    if role not in set(Role):
        raise BadRequestError(f"line {number}: the role must be one of {', '.join(Role)}")
    granted_by = f"whoever writes the file of --{OPTION}"
    roles = frozenset({Role(role)})
    return _digest(token, number), Caller(name, Method.TOKEN_FILE, roles, granted_by=granted_by)


def _digest(token: str, number: int) -> bytes:
    if told := written_digest(token):
        return told
    if not _MIN_TOKEN_LENGTH <= len(token) <= MAX_TOKEN_LENGTH or token.startswith("sha256:"):
        raise BadRequestError(
            f"line {number}: a token has {_MIN_TOKEN_LENGTH} to {MAX_TOKEN_LENGTH} letters, or is "
            "`sha256:` and 64 hexadecimal digits"
        )
    return digest_of(token)

# SPDX-License-Identifier: Apache-2.0
"""Files of tokens: a line is `NAME GRANT TOKEN`, a `#` begins a comment; pure.

The one idea: tokens of people and of agents stand in files of one form with one set of bounds. A
token is written as it is sent or as `sha256:` of it, and only its digest is kept, so nothing here
can tell one, and looking a digest up takes a time that says nothing about the tokens.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fodc_protocol.errors import BadRequestError
from fodc_proxy.access.bearer import LONGEST_TOKEN, digest_of, is_token, written_digest

SHORTEST_TOKEN: Final = 16
LONGEST_NAME: Final = 128
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._@:/-]{{0,{LONGEST_NAME - 1}}}")


@dataclass(frozen=True, slots=True)
class Line:
    """Whose a token is; what `grant` means, the reader of its file knows."""

    number: int
    name: str
    grant: str
    digest: bytes

    def wrong(self, message: str) -> BadRequestError:
        """Return the error that names this line."""
        return _wrong(self.number, message)


def lines_of(text: str, grant: str) -> Iterator[Line]:
    """Read a file whose second words are of a kind, such as `ROLE`.

    Raises BadRequestError, which names the line and repeats nothing of it.
    """
    seen: dict[bytes, int] = {}
    for number, written in enumerate(text.splitlines(), 1):
        words = written.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 3:
            raise _wrong(number, f"must be NAME {grant} TOKEN, three words")
        line = Line(number, words[0], words[1], _digest(number, words[2]))
        if not _NAME.fullmatch(line.name):
            told = (
                f"1 to {LONGEST_NAME} letters, digits and ._@:/-, and begins with one of the former"
            )
            raise _wrong(number, f"a name has {told}")
        if line.digest in seen:
            raise _wrong(number, f"the token of line {seen[line.digest]} stands here again")
        seen[line.digest] = number
        yield line


def _digest(number: int, token: str) -> bytes:
    if told := written_digest(token):
        return told
    if not is_token(token) or len(token) < SHORTEST_TOKEN:
        told_s = f"{SHORTEST_TOKEN} to {LONGEST_TOKEN} letters, digits and ._~+/=-"
        raise _wrong(number, f"a token has {told_s}, or is `sha256:` and 64 hexadecimal digits")
    return digest_of(token)


def _wrong(number: int, message: str) -> BadRequestError:
    return BadRequestError(f"line {number}: {message}")

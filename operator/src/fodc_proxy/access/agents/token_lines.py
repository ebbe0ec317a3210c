# SPDX-License-Identifier: Apache-2.0
"""The file of --agent-tokens-file: tokens of agents outside of Kubernetes; pure.

The one idea: a line is `NAME AGENT[,AGENT…] TOKEN`; the token stands there as it is or as
`sha256:` of it, and is kept as its hash only.
"""

import re
from collections.abc import Mapping
from typing import Final

from fodc_protocol.errors import BadRequestError
from fodc_proxy.access.agents.rules import NamedIdentity
from fodc_proxy.access.bearer import digest_of, is_token, written_digest
from fodc_proxy.fleet.proving import Proof

OPTION: Final = "agent-tokens-file"
SHORTEST_TOKEN: Final = 16
_AGENT: Final = re.compile(r"[A-Za-z0-9._/-]{1,507}\*?|\*")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def parse_tokens(text: str) -> Mapping[bytes, NamedIdentity]:
    """Return who has which token, by its hash.

    Raises BadRequestError, which names the line and repeats nothing of it.
    """
    found: dict[bytes, NamedIdentity] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        try:
            key, who = _entry(words)
        except BadRequestError as error:
            raise BadRequestError(f"line {number}: {error.message}") from error
        if key in found:
            raise BadRequestError(f"line {number}: the same token stands on another line")
        if who.name in {one.name for one in found.values()}:
            # By its name an agent is held to be the same on all of its streams.
            raise BadRequestError(f"line {number}: the name {who.name} stands on another line")
        found[key] = who
    return found


def _entry(words: list[str]) -> tuple[bytes, NamedIdentity]:
    if len(words) != 3:
        raise BadRequestError("must be NAME AGENT[,AGENT…] TOKEN, three words")
    name, agents, token = words
    if _NAME.fullmatch(name) is None:
        raise BadRequestError("the name must have 1 to 64 letters, digits, '.', '_' and '-'")
    addresses = tuple(agents.split(","))
    if not all(map(_AGENT.fullmatch, addresses)):
        raise BadRequestError("an agent is a pod name or namespace/pod; a * may end it")
    return _key(token), NamedIdentity(Proof.TOKEN, name, addresses)


def _key(token: str) -> bytes:
    if told := written_digest(token):
        return told
    if not is_token(token) or len(token) < SHORTEST_TOKEN:
        message = f"a token has {SHORTEST_TOKEN} or more letters, digits and ._~+/=-, or is sha256:"
        raise BadRequestError(message)
    return digest_of(token)

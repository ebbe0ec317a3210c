# SPDX-License-Identifier: Apache-2.0
"""The file of --agent-tokens-file: tokens of agents outside of Kubernetes; pure."""

import re
from collections.abc import Mapping
from typing import Final

from fodc_proxy.access.agents.rules import NamedIdentity
from fodc_proxy.access.token_lines import lines_of
from fodc_proxy.fleet.proving import Proof

OPTION: Final = "agent-tokens-file"
_AGENT: Final = re.compile(r"[A-Za-z0-9._/-]{1,507}\*?|\*")


def parse_tokens(text: str) -> Mapping[bytes, NamedIdentity]:
    """Return who has which token, by its digest.

    Raises BadRequestError, which names the line and repeats nothing of it.
    """
    found: dict[bytes, NamedIdentity] = {}
    names: dict[str, int] = {}
    for line in lines_of(text, "AGENT[,AGENT…]"):
        addresses = tuple(line.grant.split(","))
        if not all(map(_AGENT.fullmatch, addresses)):
            raise line.wrong("an agent is a pod name or namespace/pod; a * may end it")
        if line.name in names:
            # By its name an agent is held to be the same on all of its streams.
            raise line.wrong(f"the name of line {names[line.name]} stands here again")
        names[line.name] = line.number
        found[line.digest] = NamedIdentity(Proof.TOKEN, line.name, addresses)
    return found

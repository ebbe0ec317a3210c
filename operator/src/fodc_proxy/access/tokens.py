# SPDX-License-Identifier: Apache-2.0
"""The file of --http-tokens-file: people and programs by role; pure."""

from collections.abc import Mapping
from typing import Final

from fodc_proxy.access.callers import Caller, Method
from fodc_proxy.access.roles import Role
from fodc_proxy.access.token_lines import lines_of

OPTION: Final = "http-tokens-file"
MAX_TOKEN_LENGTH: Final = 16 * 1024
"""Of any token that is shown; those of an issuer are longer than those of a file."""


def callers_by_digest(text: str) -> Mapping[bytes, Caller]:
    """Return who has which token; raises BadRequestError naming the line, never a token."""
    found: dict[bytes, Caller] = {}
    for line in lines_of(text, "ROLE"):
        if line.grant not in set(Role):
            raise line.wrong(f"the role must be one of {', '.join(Role)}")
        granted_by = f"whoever writes the file of --{OPTION}"
        roles = frozenset({Role(line.grant)})
        found[line.digest] = Caller(line.name, Method.TOKEN_FILE, roles, granted_by=granted_by)
    return found

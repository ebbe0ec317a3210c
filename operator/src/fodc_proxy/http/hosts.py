# SPDX-License-Identifier: Apache-2.0
"""Which Host headers are answered.

The one idea: a page of a foreign site can make a browser connect to any address, but it cannot
choose the Host header: that is the site's own name. So public names are refused unless they are
allowed by name, while what no public name can be is fine: addresses, localhost, and names of one
label, as a Service has within its namespace.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

OPTION: Final = "http-allowed-hosts"
CLUSTER_NAMES: Final = ("*.svc", "*.cluster.local")
EVERY: Final = "*"
_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")
_PATTERN: Final = re.compile(r"\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|[0-9a-f:.]+")


def is_pattern(text: str) -> bool:
    """Say whether a text may be in the list: a name, `*.` and a name, or `*` for every host."""
    return _PATTERN.fullmatch(text.lower()) is not None


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The names that are answered beside those that no foreign site can have."""

    patterns: Sequence[str] = CLUSTER_NAMES

    def allow(self, host: str) -> bool:
        """Say whether a request with this Host header, port included or not, is answered."""
        found = _HOST.fullmatch(host)
        if found is None:
            return EVERY in self.patterns
        name = found["name"].lower().rstrip(".")
        return _is_local(name) or any(_fits(name, one.lower()) for one in self.patterns)


def _is_local(name: str) -> bool:
    return "." not in name or name.endswith(".localhost") or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def _fits(name: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    return pattern in {EVERY, name}

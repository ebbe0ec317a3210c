# SPDX-License-Identifier: Apache-2.0
"""Which Kubernetes a pod must be fit for: the oldest of API server and kubelets; pure.

The one idea: an API server keeps `restartPolicy` of an init container for kubelets that do not know
it. Such a kubelet waits for the end of the agent before it starts the database, for ever; so while
a cluster is upgraded it is the oldest kubelet that counts.
"""

import re
from collections.abc import Iterable
from typing import Final

Version = tuple[int, int]

NATIVE_SIDECARS_FROM: Final[Version] = (1, 29)
KUBELETS_BEHIND: Final = 3
"""So many minor versions a kubelet may be older than its API server (version skew policy)."""
_VERSION: Final = re.compile(r"v?(\d{1,3})\.(\d{1,3})(?!\d)")


def kubelets_count(server: Version) -> bool:
    """Say whether a kubelet of this server may be too old for what the server is new enough for."""
    return _oldest_allowed(server) < NATIVE_SIDECARS_FROM <= server


def oldest(server: Version, kubelets: Iterable[str] | None) -> Version:
    """Return the oldest of the server and its kubelets, such as "v1.28.15-eks-1".

    None for kubelets that could not be asked; then, and for one that tells no version, the oldest
    that is allowed below this server is assumed.
    """
    if kubelets is None:
        return _oldest_allowed(server)
    return min((server, *(_read(one) or _oldest_allowed(server) for one in kubelets)))


def _oldest_allowed(server: Version) -> Version:
    major, minor = server
    return major, max(0, minor - KUBELETS_BEHIND)


def _read(text: str) -> Version | None:
    found = _VERSION.match(text)
    return (int(found[1]), int(found[2])) if found else None

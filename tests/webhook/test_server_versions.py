# SPDX-License-Identifier: Apache-2.0
"""What a pod must be fit for while a cluster is upgraded."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fodc_kube import kinds
from fodc_kube.client import Listed
from fodc_kube.errors import ClusterError
from fodc_kube.kinds import Kind
from fodc_webhook.inject.server_versions import kubelets_count, oldest
from fodc_webhook.versions import Versions


@pytest.mark.parametrize(
    ("kubelets", "found"),
    [
        ([], (1, 30)),
        (["v1.30.1", "v1.30.0"], (1, 30)),
        (["v1.30.1", "v1.28.15-eks-113cf36", "v1.29.0+k3s1"], (1, 28)),
        (["v1.33.0"], (1, 30)),
        # A kubelet that does not tell may be as old as is allowed.
        ([""], (1, 27)),
        (["unknown"], (1, 27)),
        (None, (1, 27)),
    ],
)
def test_the_oldest_kubelet_counts(kubelets: list[str] | None, found: tuple[int, int]) -> None:
    assert oldest((1, 30), kubelets) == found


@pytest.mark.parametrize(
    ("server", "count"),
    [((1, 28), False), ((1, 29), True), ((1, 31), True), ((1, 32), False), ((1, 34), False)],
)
def test_kubelets_are_asked_only_where_one_may_be_too_old(
    server: tuple[int, int], count: bool
) -> None:
    assert kubelets_count(server) is count


class Upgraded:
    """A cluster whose API server is of one version and its kubelets of others."""

    def __init__(self, server: tuple[int, int], kubelets: list[str] | None) -> None:
        self.server, self.kubelets = server, kubelets
        self.asked = 0

    async def server_version(self) -> tuple[int, int]:
        return self.server

    async def list(
        self, kind: Kind, namespace: str | None = None, *, keep: Callable[[Any], Any]
    ) -> Listed:
        assert (kind, namespace) == (kinds.NODE, None)
        self.asked += 1
        if self.kubelets is None:
            raise ClusterError("list nodes: forbidden")
        nodes = ({"status": {"nodeInfo": {"kubeletVersion": one}}} for one in self.kubelets)
        return Listed([keep(one) for one in nodes], "1")


@pytest.mark.parametrize(
    ("server", "kubelets", "found", "asked"),
    [
        ((1, 29), ["v1.28.3", "v1.29.1"], (1, 28), 1),
        ((1, 29), None, (1, 26), 1),
        ((1, 31), ["v1.31.0"], (1, 31), 1),
        ((1, 34), ["v1.28.3"], (1, 34), 0),
    ],
)
def test_what_pods_are_made_fit_for_is_known_before_one_is_injected(
    server: tuple[int, int], kubelets: list[str] | None, found: tuple[int, int], asked: int
) -> None:
    cluster: Any = Upgraded(server, kubelets)

    async def run() -> tuple[int, int]:
        versions = Versions(cluster)
        following = asyncio.create_task(versions.run())
        await versions.wait_known()
        following.cancel()
        return versions.oldest

    assert asyncio.run(run()) == found
    assert cluster.asked == asked

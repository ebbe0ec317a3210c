# SPDX-License-Identifier: Apache-2.0
"""The two servers of the contract suite; the real one is skipped loudly where it cannot be had."""

import ssl
import uuid
from collections.abc import Iterator

import pytest

from e2e.controlplane import build, installing
from e2e.controlplane.cluster import ControlPlane, control_plane
from tests.operator.memory_api.peers import Peer, hosted_in_a_thread


# Not longer than a module: an idle control plane takes a tenth of a core from what comes next.
@pytest.fixture(scope="module")
def real_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    found = build.binaries(build=False)
    if isinstance(found, build.Unavailable):
        pytest.skip(f"NO KUBERNETES CONTROL PLANE: {found.reason}")
    folder = tmp_path_factory.mktemp("contract") / "plane"
    with control_plane(folder, scheduler=False, kwok=False) as plane:
        installing.install_crds(plane)
        yield plane


@pytest.fixture(scope="session")
def memory_url() -> Iterator[str]:
    with hosted_in_a_thread() as (_, url):
        yield url


@pytest.fixture(params=["memory", "real"])
def peer(request: pytest.FixtureRequest) -> Peer:
    if request.param == "memory":
        return Peer(request.getfixturevalue("memory_url"), f"ns-{uuid.uuid4().hex[:8]}")
    plane: ControlPlane = request.getfixturevalue("real_plane")
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    return Peer(plane.url, installing.new_namespace(plane), plane.admin_token, context)

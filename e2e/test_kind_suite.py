# SPDX-License-Identifier: Apache-2.0
"""The cluster object of the suite on kind with a real API server that others made."""

import os
from pathlib import Path

import pytest

from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.marking import MARK_NAME, MARK_NAMESPACE
from e2e.kind import cluster


@pytest.fixture
def found(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> cluster.KindCluster:
    """The control plane by its kubeconfig alone."""
    programs = str(Path(control_plane.binaries.path("kubectl")).parent)
    monkeypatch.setenv("PATH", programs + os.pathsep + os.environ["PATH"])
    return cluster.existing_cluster(tmp_path, control_plane.kubeconfig)


def test_it_may_everything_and_the_users_that_it_plays_may_not(found: cluster.KindCluster) -> None:
    mark = f"/api/v1/namespaces/{MARK_NAMESPACE}/configmaps/{MARK_NAME}"

    assert found.api().get(mark).status == 200
    assert found.api("stranger").get(mark).status == 403
    assert found.kubectl("auth", "can-i", "*", "*").stdout == "yes\n"
    assert found.kubectl("auth", "can-i", "get", "pods", user="stranger").stdout == "no\n"


def test_a_failed_command_tells_the_words_of_the_server(found: cluster.KindCluster) -> None:
    with pytest.raises(cluster.KindError, match='namespaces "nowhere" not found'):
        found.kubectl("get", "namespace", "nowhere", check=True)

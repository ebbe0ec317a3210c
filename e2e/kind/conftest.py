# SPDX-License-Identifier: Apache-2.0
"""The fixture `control_plane` of this folder is a kind cluster.

The one idea: tests that were written for the control plane take the fixture of the folder that
they are collected in; so their modules here only import them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.controlplane import installing, marking
from e2e.kind import cluster, deciding, sample

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where no cluster can be, let one test say why and how many it stands for."""
    ours = [item for item in items if HERE in item.path.parents]
    if not ours or os.environ.get(deciding.EXISTING_VARIABLE):
        return
    reason = deciding.reason_to_skip(cluster.look(os.environ)) or sample.reason_to_skip()
    if reason:
        first, *others = ours
        text = f"NO KIND CLUSTER for {len(ours)} tests: {reason}"
        first.add_marker(pytest.mark.skip(reason=text))
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.KindCluster]:
    """A kind cluster with our images and our CRDs, or the marked one that somebody named."""
    folder = tmp_path_factory.mktemp("kind")
    given = os.environ.get(deciding.EXISTING_VARIABLE)
    if given:
        try:
            found = cluster.existing_cluster(folder, Path(given))
        except marking.ForeignClusterError as error:
            pytest.fail(f"{deciding.EXISTING_VARIABLE}: {error}")
        installing.install_crds(found)
        yield found
        return
    machine = cluster.look(os.environ)
    archives = [sample.write_image(folder)]
    with cluster.kind_cluster(folder / "run", machine.node_image, archives) as made:
        installing.install_crds(made)
        yield made

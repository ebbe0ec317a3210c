# SPDX-License-Identifier: Apache-2.0
"""A real machine for the tests of this folder; they skip with the reasons where there can be none.

The one idea: what takes minutes is compiled before the first test, as its time limit includes its
fixtures; the rest takes ten seconds. What cannot be built here is a reason to skip, a build that
fails is not.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import having
from e2e.controlplane import build, installing
from e2e.controlplane.cluster import programs
from e2e.images.building import ImagesError
from e2e.kubelet import images, requirements, traces
from e2e.kubelet.node import Node
from e2e.kubelet.node import node as running_node
from e2e.node.build import BuildError

NAMES = (*programs(scheduler=True), "kubelet", "kustomize", "crane")
REASONS = pytest.StashKey[list[str]]()
FAILURE = pytest.StashKey[str]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find out what is missing and compile what may be compiled."""
    wanted = any("archives" in getattr(item, "fixturenames", ()) for item in session.items)
    if not wanted or session.config.option.collectonly:
        return
    capturing = session.config.pluginmanager.getplugin("capturemanager")
    with capturing.global_and_fixture_disabled():
        reasons, failure = _prepared()
    session.config.stash[REASONS] = reasons
    session.config.stash[FAILURE] = failure


def _prepared() -> tuple[list[str], str]:
    """Build; return why there can be no kubelet here, and what failed."""
    if reasons := requirements.reasons_against():
        return reasons, ""
    found = build.binaries(build=build.building_is_permitted(), names=NAMES)
    if isinstance(found, build.Unavailable):
        return ([], found.reason) if having.is_tried() else ([found.reason], "")
    try:
        images.build_programs()
    except (BuildError, ImagesError) as error:
        return [], str(error)
    return [], ""


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> list[Path]:
    """The images of the node; skips where no kubelet can run, fails where a build failed."""
    if reasons := pytestconfig.stash[REASONS]:
        pytest.skip(f"NO KUBELET: {'; '.join(reasons)}")
    if failure := pytestconfig.stash[FAILURE]:
        pytest.fail(failure, pytrace=False)
    return images.write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def machine(archives: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A ready machine of a cluster with our CRDs; checks that nothing of it is left."""
    before = traces.of_host()
    with running_node(tmp_path_factory.mktemp("machine") / "run", archives) as one:
        installing.install_crds(one.plane)
        yield one
        family = traces.family(one.child.process.pid)
    assert traces.come(before, one.place) == []
    assert family.left() == []

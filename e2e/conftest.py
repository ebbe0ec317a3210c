# SPDX-License-Identifier: Apache-2.0
"""One control plane for all tests that want one, built before the first test when that is allowed.

The one idea: a test takes the fixture `control_plane`; where it cannot be had the test is skipped
with the reason, and FODC_BUILD=1 permits the minutes of building. Where a build fails, so does it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from e2e import having, webhooks
from e2e.controlplane import auditing, build, installing, marking
from e2e.controlplane.cluster import ControlPlane, programs
from e2e.controlplane.cluster import control_plane as running_control_plane
from e2e.database_pods import Databases

KUBELET: Final = "kubelet"
ONE_SERVER: Final = "api-server"
ASK_A_SERVER_ONLY: Final = frozenset(
    {
        "test_controlplane",
        "test_crds",
        "test_injection_crd",
        "test_manifests",
        "test_manifests_rights",
    }
)
"""What `make test` runs as well: together they take less time than a server of their own each."""
BUILT = pytest.StashKey[build.Binaries | build.Unavailable]()


class Scheduling(LoadFileScheduling):
    """One process has a file, or all files of one group."""

    def _split_scope(self, nodeid: str) -> str:
        return _group_of(Path(nodeid.partition("::")[0]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Make of `--dist loadfile` one that knows which files belong together.

    pytest-xdist's own groups are not seen by pytest 9.2.
    """
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those on a kubelet first, which take longest, and what looks back on all others last."""
    items.sort(key=lambda item: _place_of(item.path))


def _group_of(path: Path) -> str:
    if path.parent.name == KUBELET:
        return KUBELET  # a machine takes one at a time
    if path.parent.name == "e2e" and path.stem in ASK_A_SERVER_ONLY:
        return ONE_SERVER
    return str(path)


def _place_of(path: Path) -> int:
    if path.name == "test_rights_are_used.py":
        return 2
    return 0 if path.parent.name == KUBELET else 1


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note which files ran, for the test that looks back."""
    auditing.note_file(item.path)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: the time limit of a test includes its fixtures."""
    wanted = any("control_plane" in getattr(item, "fixturenames", ()) for item in session.items)
    if not (wanted and build.building_is_permitted()) or session.config.option.collectonly:
        return
    capturing = session.config.pluginmanager.getplugin("capturemanager")
    with capturing.global_and_fixture_disabled():
        session.config.stash[BUILT] = build.binaries(build=True)
        if any("helm" in getattr(item, "fixturenames", ()) for item in session.items):
            build.binaries(build=True, names=("helm",))


@pytest.fixture(scope="session")
def control_plane(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[ControlPlane]:
    """A real API server with etcd and controllers, our CRDs installed; skips where it cannot be.

    Where building it was tried and failed, that fails the test.
    """
    found = build.binaries(build=False, names=programs())
    if isinstance(found, build.Unavailable):
        failed = pytestconfig.stash.get(BUILT, found)
        reason = failed.reason if isinstance(failed, build.Unavailable) else found.reason
        having.miss(f"NO KUBERNETES CONTROL PLANE: {reason}")
    folder = tmp_path_factory.mktemp("control-plane") / "run"
    with running_control_plane(folder) as plane:
        marking.refuse_foreign_cluster(plane.kubeconfig, plane.binaries.path("kubectl"))
        installing.install_crds(plane)
        yield plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A namespace that no other test uses."""
    return installing.new_namespace(control_plane)


@pytest.fixture
def databases(control_plane: ControlPlane, namespace: str) -> Databases:
    """A namespace whose pods the webhook is asked about."""
    webhooks.opt_in(control_plane, namespace)
    return Databases(control_plane, namespace)

# SPDX-License-Identifier: Apache-2.0
"""Both variants of the sample node, started once for a module that leaves them as they were."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "node"


def load_by_path(name: str, path: Path):
    """Import a module that is in no package; e2e/ is deliberately none."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def running():
    """The module e2e/node/running.py."""
    return load_by_path("fodc_sample_node_running", ROOT / "e2e" / "node" / "running.py")


@pytest.fixture(scope="session")
def twin_page():
    """The module that computes pages for the Python node."""
    return load_by_path("fodc_sample_node_page", ROOT / "e2e" / "node" / "twin" / "page.py")


@pytest.fixture(scope="session")
def twin_directory() -> Path:
    return ROOT / "e2e" / "node" / "twin"


@pytest.fixture(scope="session")
def families():
    """A function that returns names and types of the families on a recorded page."""

    def read(role: str) -> dict[str, str]:
        lines = (DATA / f"families-{role}.txt").read_text(encoding="utf-8").splitlines()
        return dict(line.split() for line in lines if not line.startswith("#"))

    return read


@pytest.fixture(scope="session", params=["go", "python"])
def variant(request, running) -> str:
    forced = os.environ.get(running.build.FORCE_VARIABLE)
    if forced not in (None, "", request.param):
        pytest.skip(f"only the {forced} variant is wanted")
    if request.param == "go":
        if running.build.go_version() is None:
            pytest.skip("no Go compiler")
        running.build.built_node()
    return request.param


# Not longer than a module: its load would take from what is tested next.
@pytest.fixture(scope="module")
def shared_node(running, variant) -> Iterator[object]:
    """A loaded data node; a test that sets a fault or load has to undo it."""
    with running.sample_node(load=4, prefer=variant) as node:
        yield node


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test time to build the Go program from nothing."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(240))

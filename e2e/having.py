# SPDX-License-Identifier: Apache-2.0
"""Programs that a test wants and that are built for it.

The one idea: where nothing can be built a test is skipped with the reason; a build that was tried
and failed is a fault of the tree, so it fails what wants it.
"""

from typing import NoReturn

import pytest

from e2e.controlplane import build
from e2e.node.build import go_version


def is_tried() -> bool:
    """Tell whether this run builds what is missing: Go is there and minutes may be spent."""
    return build.building_is_permitted() and go_version() is not None


def miss(reason: str) -> NoReturn:
    """End a test for want of a program that is built from Go modules."""
    if is_tried():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def had(without: str, name: str) -> str:
    """Return the path of a program; `without` says what is not tested where there is none."""
    found = build.binaries(build=build.building_is_permitted(), names=(name,))
    if isinstance(found, build.Unavailable):
        miss(f"{without}: {found.reason}")
    return found.path(name)

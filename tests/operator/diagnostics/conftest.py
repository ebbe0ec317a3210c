# SPDX-License-Identifier: Apache-2.0
"""Scenes to play."""

import pytest

from tests.operator.diagnostics.scene import Play


@pytest.fixture(scope="session")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    return Play(tmp_path_factory.mktemp("scenes"))

# SPDX-License-Identifier: Apache-2.0
"""Worlds to play scenes in."""

import pytest

from .world import Play


@pytest.fixture(scope="session")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    return Play(tmp_path_factory.mktemp("worlds"))

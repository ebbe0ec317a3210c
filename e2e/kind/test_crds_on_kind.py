# SPDX-License-Identifier: Apache-2.0
"""The custom resources on kind: the tests of the control plane, with another cluster."""

import pytest

from e2e.test_crds import *  # noqa: F403 - the same tests

pytestmark = pytest.mark.timeout(900)

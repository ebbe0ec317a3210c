# SPDX-License-Identifier: Apache-2.0
"""FodcInjections on kind: the tests of the control plane, with another cluster."""

import pytest

from e2e.test_injection_crd import *  # noqa: F403 - the same tests

pytestmark = pytest.mark.timeout(900)

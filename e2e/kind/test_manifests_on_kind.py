# SPDX-License-Identifier: Apache-2.0
"""The manifests on kind: the tests of the control plane, with another cluster."""

import pytest

from e2e.test_manifests import *  # noqa: F403 - the same tests

pytestmark = pytest.mark.timeout(900)

# Here an operator runs and puts its own bundle back.
del test_a_second_apply_leaves_the_bundle_that_the_operator_wrote  # noqa: F821 - imported above

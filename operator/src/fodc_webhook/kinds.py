# SPDX-License-Identifier: Apache-2.0
"""The group that is ours, and the kind by which people say which pods get an agent."""

from typing import Final

from fodc_kube.kinds import Kind

GROUP: Final = "fodc.banyandb.dev"
VERSION: Final = "v1alpha1"
FODC_INJECTION: Final = Kind(GROUP, VERSION, "fodcinjections", "FodcInjection")

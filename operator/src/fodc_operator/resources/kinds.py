# SPDX-License-Identifier: Apache-2.0
"""The kinds of the group that is ours."""

from typing import Final

from fodc_kube.kinds import Kind

GROUP: Final = "fodc.banyandb.dev"
VERSION: Final = "v1alpha1"
FODC_NODE: Final = Kind(GROUP, VERSION, "fodcnodes", "FodcNode")
DIAGNOSTIC_REQUEST: Final = Kind(GROUP, VERSION, "diagnosticrequests", "DiagnosticRequest")
FODC_INJECTION: Final = Kind(GROUP, VERSION, "fodcinjections", "FodcInjection")

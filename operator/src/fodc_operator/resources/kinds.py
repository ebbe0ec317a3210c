# SPDX-License-Identifier: Apache-2.0
"""The kinds that the operator writes."""

from typing import Final

from fodc_kube.kinds import Kind
from fodc_webhook.kinds import GROUP, VERSION

FODC_NODE: Final = Kind(GROUP, VERSION, "fodcnodes", "FodcNode")
DIAGNOSTIC_REQUEST: Final = Kind(GROUP, VERSION, "diagnosticrequests", "DiagnosticRequest")

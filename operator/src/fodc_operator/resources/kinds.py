# SPDX-License-Identifier: Apache-2.0
"""The kinds that the operator writes."""

from typing import Final

from fodc_kube.kinds import Kind
from fodc_webhook.kinds import DIAGNOSTIC_REQUEST, GROUP, VERSION

__all__ = ["DIAGNOSTIC_REQUEST", "FODC_NODE"]

FODC_NODE: Final = Kind(GROUP, VERSION, "fodcnodes", "FodcNode")

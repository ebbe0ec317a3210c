# SPDX-License-Identifier: Apache-2.0
"""The group that is ours, and the kinds that the webhook is asked about or decides by."""

from typing import Final

from fodc_kube.kinds import Kind

GROUP: Final = "fodc.banyandb.dev"
VERSION: Final = "v1alpha1"
REQUESTED_BY: Final = f"{GROUP}/requested-by"
CANCELLED_BY: Final = f"{GROUP}/cancelled-by"
"""Annotations of a DiagnosticRequest that admission writes."""
FODC_INJECTION: Final = Kind(GROUP, VERSION, "fodcinjections", "FodcInjection")
DIAGNOSTIC_REQUEST: Final = Kind(GROUP, VERSION, "diagnosticrequests", "DiagnosticRequest")

# SPDX-License-Identifier: Apache-2.0
"""The FODC operator: the proxy embedded, FodcNode mirrored, DiagnosticRequest carried out."""

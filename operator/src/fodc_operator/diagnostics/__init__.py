# SPDX-License-Identifier: Apache-2.0
"""DiagnosticRequests carried out: from the resource to the proxy's engine and back."""

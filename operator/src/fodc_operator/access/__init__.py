# SPDX-License-Identifier: Apache-2.0
"""What the proxy asks about its callers, asked of the API server."""

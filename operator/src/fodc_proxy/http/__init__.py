# SPDX-License-Identifier: Apache-2.0
"""What the proxy serves over HTTP: one table of routes, and the edge that bounds what comes in."""

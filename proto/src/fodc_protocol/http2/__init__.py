# SPDX-License-Identifier: Apache-2.0
"""What both ends of HTTP/2 have in common, pure (RFC 9113, 7541): frames, headers, windows."""

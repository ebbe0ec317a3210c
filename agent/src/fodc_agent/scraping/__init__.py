# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 client towards the node: one page or one profile, within a deadline and a size."""

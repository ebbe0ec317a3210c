# SPDX-License-Identifier: Apache-2.0
"""What the node knows of its cluster, and what it left behind."""

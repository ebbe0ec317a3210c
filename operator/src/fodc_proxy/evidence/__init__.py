# SPDX-License-Identifier: Apache-2.0
"""What nodes know of their cluster and of themselves: topology, lifecycle, schema."""

# SPDX-License-Identifier: Apache-2.0
"""Who writes to and queries whom, derived from the metrics of the nodes."""

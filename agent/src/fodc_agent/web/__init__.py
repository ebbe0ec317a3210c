# SPDX-License-Identifier: Apache-2.0
"""The agent's own HTTP port: metrics for a scraper, probes for a kubelet."""

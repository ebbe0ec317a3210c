# SPDX-License-Identifier: Apache-2.0
"""Metrics: samples, the text format, families, and the page of many agents."""

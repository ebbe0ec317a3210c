# SPDX-License-Identifier: Apache-2.0
"""The FODC proxy: one place that shows the whole cluster."""

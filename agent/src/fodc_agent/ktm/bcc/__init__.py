# SPDX-License-Identifier: Apache-2.0
"""Counts by BCC, in a process of its own: for machines whose kernel has no BTF but headers."""

# SPDX-License-Identifier: Apache-2.0
"""Kernel telemetry: what the kernel does for the node, counted by BPF programs.

Nothing outside imports this package unless it was asked for: it costs memory beside a database.
"""

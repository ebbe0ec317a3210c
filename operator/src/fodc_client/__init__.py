# SPDX-License-Identifier: Apache-2.0
"""The `fodc` command: nodes, captures, artifacts and configuration for people."""

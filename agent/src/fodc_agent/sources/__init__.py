# SPDX-License-Identifier: Apache-2.0
"""What the agent can see of its node: one module per source, and what they share.

A source never raises: what it cannot see is a named gap of its reading. Sources do not know each
other; `readings`, `procfs`, `node_process` and `cgroup_paths` are no sources but their ground.
"""

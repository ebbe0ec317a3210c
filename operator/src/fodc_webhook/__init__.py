# SPDX-License-Identifier: Apache-2.0
"""The program that puts the agent into pods: stateless, in two replicas, and it fails open."""

# SPDX-License-Identifier: Apache-2.0
"""The gRPC edge: streams of agents, both contracts, on one port."""

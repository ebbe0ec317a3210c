# SPDX-License-Identifier: Apache-2.0
"""One process that is attached to many nodes over the network."""

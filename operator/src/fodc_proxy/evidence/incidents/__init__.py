# SPDX-License-Identifier: Apache-2.0
"""What happened to a node: one record for all that was told of it."""

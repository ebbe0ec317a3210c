# SPDX-License-Identifier: Apache-2.0
"""The fleet as FodcNode objects: what to write is pure, one shell writes it."""

# SPDX-License-Identifier: Apache-2.0
"""The HTTP edge: one file per group of routes."""

# SPDX-License-Identifier: Apache-2.0
"""Profiles taken from the node on demand: asked, checked, spooled on disk, kept within a quota."""

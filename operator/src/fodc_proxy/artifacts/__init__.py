# SPDX-License-Identifier: Apache-2.0
"""Artifacts: what captures gave, checked, stored and handed out.

Theory of operation.  Bytes that arrive grow a partial file in a local folder.  When all are there
they are verified, put under a temporary key, moved to their own, and described by a manifest that
is written last: an artifact exists exactly when its manifest exists.
"""

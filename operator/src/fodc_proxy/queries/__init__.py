# SPDX-License-Identifier: Apache-2.0
"""Collecting on demand: who is asked what, who is waited for, and who is reported missing."""

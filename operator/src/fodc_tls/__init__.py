# SPDX-License-Identifier: Apache-2.0
"""Certificates that listeners show; of proxy, operator and webhook alike."""

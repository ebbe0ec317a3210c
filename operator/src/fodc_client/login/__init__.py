# SPDX-License-Identifier: Apache-2.0
"""Logging in at an issuer of OpenID Connect, and what is kept of it."""

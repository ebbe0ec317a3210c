# SPDX-License-Identifier: Apache-2.0
"""Callers whom an issuer of OpenID Connect knows."""

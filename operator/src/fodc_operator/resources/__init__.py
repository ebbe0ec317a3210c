# SPDX-License-Identifier: Apache-2.0
"""Typed views of the custom resources: pure, foreign data is read here and nowhere deeper."""

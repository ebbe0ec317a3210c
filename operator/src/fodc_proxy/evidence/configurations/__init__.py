# SPDX-License-Identifier: Apache-2.0
"""What nodes were told, kept by content on every change."""

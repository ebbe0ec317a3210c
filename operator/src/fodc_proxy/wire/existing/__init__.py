# SPDX-License-Identifier: Apache-2.0
"""Messages of the existing contract with its seven streams."""

# SPDX-License-Identifier: Apache-2.0
"""Who a caller is, what they may, and what they did."""

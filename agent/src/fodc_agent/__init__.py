# SPDX-License-Identifier: Apache-2.0
"""The FODC agent: one small process beside each BanyanDB node."""

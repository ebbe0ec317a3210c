# SPDX-License-Identifier: Apache-2.0
"""Pure meaning that agent, proxy and client share: no I/O, no clock, no framework."""

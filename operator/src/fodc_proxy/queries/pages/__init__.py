# SPDX-License-Identifier: Apache-2.0
"""Pure views: what was collected from the fleet, turned into what a caller reads."""

# SPDX-License-Identifier: Apache-2.0
"""Who belongs to the fleet: pure membership rules and the registry that gives them a clock."""

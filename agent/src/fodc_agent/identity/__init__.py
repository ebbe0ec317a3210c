# SPDX-License-Identifier: Apache-2.0
"""Who the node beside the agent is: role and labels, asked of the node itself.

`roles` holds the rules, `codec` reads the node's answer, `discovery` asks.
"""

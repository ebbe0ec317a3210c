# SPDX-License-Identifier: Apache-2.0
"""How the pods of each FodcInjection stand, and what is done about those without an agent."""

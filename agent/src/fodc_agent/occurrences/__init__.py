# SPDX-License-Identifier: Apache-2.0
"""What happens to the node: noticed, numbered, kept until a proxy has it."""

# SPDX-License-Identifier: Apache-2.0
"""The typed view of a FodcInjection."""

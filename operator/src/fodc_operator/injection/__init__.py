# SPDX-License-Identifier: Apache-2.0
"""Which pods get an agent, how it is put beside the database, and what became of it."""

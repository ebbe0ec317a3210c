# SPDX-License-Identifier: Apache-2.0
"""The verbs of `fodc`, one module each.

Each module has `add(verbs)`, which tells argparse about the verb, an async `run…` that returns the
exit code, and pure functions that turn answers into tables.
"""

# SPDX-License-Identifier: Apache-2.0
"""kopf, in a thread and loop of its own; the only place that imports it."""

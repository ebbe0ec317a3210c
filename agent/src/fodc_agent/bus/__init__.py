# SPDX-License-Identifier: Apache-2.0
"""Who collects what and when: `coordinator` runs the sources, `breaker` says when to pause."""

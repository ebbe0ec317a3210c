# SPDX-License-Identifier: Apache-2.0
"""kopf, in the main loop of the webhook; one file per event."""

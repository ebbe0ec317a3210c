# SPDX-License-Identifier: Apache-2.0
"""gRPC over our HTTP/2: calls, messages, statuses, and the listener that serves them."""

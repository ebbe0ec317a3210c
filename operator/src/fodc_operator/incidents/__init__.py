# SPDX-License-Identifier: Apache-2.0
"""What the API server knows of incidents, and what it is told of them."""

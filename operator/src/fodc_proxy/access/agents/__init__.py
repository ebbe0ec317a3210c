# SPDX-License-Identifier: Apache-2.0
"""Which agents may come in by gRPC."""

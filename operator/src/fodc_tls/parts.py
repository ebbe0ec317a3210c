# SPDX-License-Identifier: Apache-2.0
"""What the parts of a certificate are called, in Secrets and folders."""

from typing import Final

LEAF_CERTIFICATE: Final = "tls.crt"
LEAF_KEY: Final = "tls.key"
CLIENT_CA: Final = "client-ca.crt"
"""Of whom certificates of clients may be; without it none is asked for."""

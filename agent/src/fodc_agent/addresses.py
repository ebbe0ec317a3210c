# SPDX-License-Identifier: Apache-2.0
"""How the addresses of one name are tried."""

from typing import Final

NEXT_ADDRESS_S: Final = 0.25
"""How long one address is waited for before the next is tried beside it (RFC 8305)."""

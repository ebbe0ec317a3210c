# SPDX-License-Identifier: Apache-2.0
"""The version of all programs, as a constant: asking a package's metadata costs 3 MiB of memory."""

from typing import Final

VERSION: Final = "0.1.0"

# SPDX-License-Identifier: Apache-2.0
"""The version of the agent, as a constant: asking the package metadata costs 3 MiB of memory."""

from typing import Final

VERSION: Final = "0.1.0"

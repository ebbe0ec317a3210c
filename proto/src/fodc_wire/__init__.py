# SPDX-License-Identifier: Apache-2.0
"""Generated wire contract; `make proto` writes everything below."""

# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API as our programs use it; knows none of them, and imports the only client."""

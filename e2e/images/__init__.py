# SPDX-License-Identifier: Apache-2.0
"""The two images that a user installs, built with what the machine has."""

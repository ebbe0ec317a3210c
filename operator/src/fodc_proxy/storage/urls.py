# SPDX-License-Identifier: Apache-2.0
"""What --artifact-store may say; pure, because settings are read before a store is thought of."""

from typing import Final
from urllib.parse import urlsplit

from fodc_protocol.option_values import Value

BUCKETS: Final = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")


def wrong_url(name: str, value: Value) -> str | None:
    """Say what is wrong with a store's URL; a check of an option."""
    if not value or not isinstance(value, str):
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return f"{name} is no URL"
    names_container = parts.scheme in {"abfs", "abfss"} and parts.password is None
    if parts.username is not None and not names_container:
        return f"{name} must not hold a name or password; give credentials in the environment"
    if parts.scheme == "file":
        fits = not parts.netloc and parts.path.startswith("/") and parts.path != "/"
        return None if fits else f"{name} must name a folder: file:///var/lib/fodc/store"
    if parts.scheme not in BUCKETS:
        accepted = ", ".join(f"{one}://" for one in (*BUCKETS, "file"))
        return f"{name} must start with one of {accepted}"
    return None if parts.netloc else f"{name} must name a bucket: {parts.scheme}://bucket/path"

# SPDX-License-Identifier: Apache-2.0
"""Where the proxy is: its URL as people write it; pure."""

from typing import Final
from urllib.parse import urlsplit

from fodc_client.errors import BadUsageError

UNREACHABLE_HINT: Final = "Is fodc-proxy running? Set --proxy or FODC_PROXY."
OTHER_PRODUCT: Final = "Is --proxy the address of a FODC proxy of this product?"


def normal_url(text: str) -> str:
    """Return the proxy's URL without a trailing slash; `host:port` means http.

    Raises BadUsageError for anything that is no http or https URL.
    """
    url = text if "://" in text else f"http://{text}"
    parts = urlsplit(url)
    try:
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise BadUsageError(
            f"--proxy {text!r} is no URL; expected something like http://host:17913"
        )
    return url.rstrip("/")

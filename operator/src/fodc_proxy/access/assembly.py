# SPDX-License-Identifier: Apache-2.0
"""Builds the door from settings; a program that embeds the proxy may bring a source of its own."""

import logging

from fodc_proxy.access.access_reviews import AccessReviews
from fodc_proxy.access.door import CallerSource, Door
from fodc_proxy.access.people import ClusterPeople
from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.access.token_reviews import TokenReviewer
from fodc_proxy.access.tokens_file import TokensFile

_log = logging.getLogger(__name__)


def assemble(
    settings: AccessSettings,
    tokens: TokenReviewer | None = None,
    access: AccessReviews | None = None,
) -> Door:
    """Return the door, for people of a cluster too; raises OptionError for an unusable file."""
    if settings.is_insecure:
        door = Door(is_insecure=True)
        _log.warning("%s", door)
        return door
    sources: list[CallerSource] = []
    if settings.tokens_file:
        sources.append(TokensFile(settings.tokens_file))
    if tokens is not None:
        sources.append(ClusterPeople(tokens))
    return Door(sources, access)

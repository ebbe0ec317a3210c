# SPDX-License-Identifier: Apache-2.0
"""What a failure looks like: one shape for every JSON error body of every route."""

from typing import Annotated

from msgspec import Meta

from fodc_api.values import Answer


class ProblemDetail(Answer, frozen=True, omit_defaults=True):
    """Why there is no answer."""

    reason: Annotated[str, Meta(description="One word for machines.", examples=["BadRequest"])]
    message: Annotated[str, Meta(description="A sentence for people; it names field and value.")]
    field: Annotated[str, Meta(description="Path of the input that is wrong.")] = ""


class Unreadable(Answer, frozen=True):
    """Something that is stored and cannot be understood; it is left alone and hides no other."""

    name: Annotated[str, Meta(description="Its key in the artifact store.")]
    message: str


class Problem(Answer, frozen=True):
    """The body of every error in JSON."""

    error: ProblemDetail

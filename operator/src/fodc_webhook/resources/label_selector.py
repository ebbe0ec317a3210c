# SPDX-License-Identifier: Apache-2.0
"""A label selector as values, and whether labels fit it.

The one idea: the rules of Kubernetes' LabelSelector, where NotIn and DoesNotExist also hold for an
object that does not carry the label at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from fodc_protocol.fields import FieldError, Fields, shown

MAX_REQUIREMENTS: Final = 16


class LabelOperator(StrEnum):
    """How a label relates to the values of a requirement."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"

    @property
    def takes_values(self) -> bool:
        """Whether a requirement with this operator has values."""
        return self in {LabelOperator.IN, LabelOperator.NOT_IN}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement about the values of one label."""

    key: str
    operator: LabelOperator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether the requirement holds for an object with these labels."""
        match self.operator:
            case LabelOperator.IN:
                return labels.get(self.key) in self.values
            case LabelOperator.NOT_IN:
                return labels.get(self.key) not in self.values
            case LabelOperator.EXISTS:
                return self.key in labels
            case LabelOperator.DOES_NOT_EXIST:
                return self.key not in labels
            case _:
                assert_never(self.operator)


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether an object with these labels is meant."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def label_selector(data: object, path: str) -> LabelSelector:
    """Read `matchLabels` and `matchExpressions` of the selector at `path`.

    Raises FieldError for a wrong field and for a selector that is empty.
    """
    fields = Fields(data, path).allow("matchLabels", "matchExpressions")
    labels = data.get("matchLabels") if isinstance(data, Mapping) else None
    equal = _equalities({} if labels is None else labels, fields.path("matchLabels"))
    expressions = tuple(
        _expression(item.allow("key", "operator", "values"))
        for item in fields.items("matchExpressions", low=0, high=MAX_REQUIREMENTS)
    )
    if not equal and not expressions:
        raise FieldError(path, "is empty and would match every node; say all: true for that")
    return LabelSelector((*equal, *expressions))


def _equalities(labels: object, path: str) -> tuple[Requirement, ...]:
    fields = Fields(labels, path)
    names = [str(name) for name in labels] if isinstance(labels, Mapping) else []
    if len(names) > MAX_REQUIREMENTS:
        raise FieldError(path, f"has more than {MAX_REQUIREMENTS} labels")
    return tuple(
        Requirement(name, LabelOperator.IN, (fields.text(name, max_length=63),)) for name in names
    )


def _expression(item: Fields) -> Requirement:
    # A missing operator gets the words for a wrong one.
    word = item.text("operator", max_length=63, default="")
    if word not in list(LabelOperator):
        accepted = ", ".join(LabelOperator)
        raise FieldError(item.path("operator"), f"must be one of {accepted}, got {shown(word)}")
    operator = LabelOperator(word)
    values = item.texts("values", high=32, max_length=63)
    if operator.takes_values != bool(values):
        problem = "In and NotIn need values, Exists and DoesNotExist take none"
        raise FieldError(item.path("values"), problem)
    return Requirement(item.text("key", max_length=317), operator, values)

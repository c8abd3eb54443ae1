"""What a feature is: the declarations that a model project writes under ``features:``.

Each feature is computed per entity, in samples order, from the entity's own rows up to and including the present one.
Label feedback uses the labels that were known by then, newest first. A value that does not exist yet is NaN.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

FeatureName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Rows = Annotated[int, Field(ge=1, le=100_000)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FeatureName


class Value(_Spec):
    """The field itself."""

    kind: Literal["value"]
    field: str


class Lag(_Spec):
    """The field ``rows`` rows ago."""

    kind: Literal["lag"]
    field: str
    rows: Rows


class Difference(_Spec):
    """The field now minus the field ``rows`` rows ago."""

    kind: Literal["difference"]
    field: str
    rows: Rows = 1


class RollingMean(_Spec):
    """Mean of the field over the newest ``rows`` rows, the present one included."""

    kind: Literal["rolling_mean"]
    field: str
    rows: Rows


class RollingShare(_Spec):
    """Share of the newest ``rows`` rows, the present one included, in which the field is above ``above``."""

    kind: Literal["rolling_share"]
    field: str
    rows: Rows
    above: float


class LabelLag(_Spec):
    """The ``rows``-th newest label known: 1 is the newest."""

    kind: Literal["label_lag"]
    rows: Rows = 1


class LabelShare(_Spec):
    """Share of the newest ``rows`` known labels that equal ``equals`` (the index of a class)."""

    kind: Literal["label_share"]
    rows: Rows
    equals: float = 1.0


class LabelMean(_Spec):
    """Mean of the newest ``rows`` known labels."""

    kind: Literal["label_mean"]
    rows: Rows


FeatureSpec = Annotated[
    Value | Lag | Difference | RollingMean | RollingShare | LabelLag | LabelShare | LabelMean,
    Field(discriminator="kind"),
]


def feature_set_id(specs: Sequence[FeatureSpec]) -> str:
    """Content hash of the definitions: the same definitions in the same order have the same id."""
    canonical = json.dumps([spec.model_dump() for spec in specs], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]

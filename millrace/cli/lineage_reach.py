"""How long an event is seen by the features that a project declares."""

from collections.abc import Sequence

from millrace.contracts.feature_spec import Ewm, FeatureSpec, TimeSince
from millrace.features.online import look_back


def seen_for(features: Sequence[FeatureSpec]) -> tuple[int | None, int | None]:
    """For how many later events, and labels, of its entity an event and its label may be seen; None is for ever.

    >>> from millrace.contracts.feature_spec import LabelLag, Lag
    >>> seen_for([Lag(name="a", kind="lag", field="x", rows=3), LabelLag(name="b", kind="label_lag", rows=2)])
    (3, 2)
    """
    if any(isinstance(spec, Ewm | TimeSince) for spec in features):
        return None, None
    fields, labels = look_back(features)
    return max(fields.values(), default=1) - 1, labels

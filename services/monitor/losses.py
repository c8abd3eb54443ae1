"""Errors as numbers from 0 to 1, which is what detectors of known false-alarm rate take."""

import numpy as np

from millrace.contracts.profile import Profile
from services.monitor.frames import Floats
from services.monitor.measure import errors

BOUND_QUANTILE = 0.99  # of the absolute errors: what is larger counts as this, so that one outlier is not a drift
ROWS_MIN = 30  # from which a bound is taken


def bound_of(profile: Profile | None) -> float | None:
    """Largest absolute error that counts, from the hold-out rows; None where there are too few of them."""
    if profile is None:
        return None
    known = errors("regression", profile.holdout_values, profile.holdout_labels)
    known = known[np.isfinite(known)]
    return bound(known) if len(known) >= ROWS_MIN else None


def bound(known: Floats) -> float:
    """From absolute errors. Of a model without any error so far any error is the largest.

    >>> bound(np.linspace(0, 1, 101)), bound(np.zeros(50))
    (0.99, 1.0)
    """
    return float(np.quantile(known, BOUND_QUANTILE)) or float(known.max()) or 1.0

"""Cross-validation in order of time."""

import pytest

from services.trainer.train.search.cv import folds
from services.trainer.train.task import FitError


@pytest.mark.parametrize(("rows", "count", "gap"), [(100, 3, 0), (100, 3, 7), (1000, 2, 48), (997, 8, 1), (60, 5, 3)])
def test_folds_lie_in_order_of_time_with_the_gap_between(rows, count, gap):
    """Every fit ends the gap before its stretch; the stretches are side by side and end with the newest row."""
    found = folds(rows, count, gap)
    assert count == len(found)
    assert {gap} == {fold.start - fold.until for fold in found}
    assert [rows, *(fold.start for fold in found[:-1])] == [fold.stop for fold in found]
    assert min(fold.until for fold in found) >= rows // 2 - gap


@pytest.mark.parametrize(("rows", "gap"), [(30, 3), (100, 60), (5, 0)])
def test_too_few_rows_are_refused_with_the_way_out(rows, gap):
    """The message names the rows, the gap, and what to change."""
    with pytest.raises(FitError, match=rf"{rows} training rows are too few for 3 folds with a gap of {gap} rows"):
        folds(rows, 3, gap)

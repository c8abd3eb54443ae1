"""A frame that is cut: its parts are what serving would have written if it had cut there."""

import itertools
from typing import Any

import numpy as np
import pytest

from services.monitor.frames import COLUMNS
from tests.monitor.rollouts import scored


def test_parts_have_all_rows_once(make: Any) -> None:
    """Each column, each feature; the frame's own facts in every part, what the variants did in the first."""
    lines = [make.line(f"e{at}", price=float(at), scores=(0.5, 0.5)) for at in range(10)]
    variants = (scored("champion", 1, answered=True),)
    rows = make.rows(lines, 20, champion_version=1, rollout_id="r", variants=variants)

    parts = [rows.cut(begin, end) for begin, end in itertools.pairwise([0, 3, 9, 10])]

    for name in COLUMNS:
        whole = np.asarray(getattr(rows, name)).tolist()
        assert str(whole) == str([row for part in parts for row in np.asarray(getattr(part, name)).tolist()])
    assert rows.features["price"].tolist() == [price for part in parts for price in part.features["price"].tolist()]
    assert [23, 29, 30] == [part.until_offset for part in parts]
    assert [variants, (), ()] == [part.variants for part in parts]
    assert {("r", 1)} == {(part.rollout_id, part.champion) for part in parts}
    assert rows.cut(0, 10) is rows


@pytest.mark.parametrize(("begin", "end", "offsets"), [(0, 99, range(20, 30)), (22, 25, range(22, 25)), (30, 40, ())])
def test_rows_are_found_by_their_offsets(make: Any, begin: int, end: int, offsets: Any) -> None:
    """The second offset is not included; none may be there at all."""
    rows = make.rows([make.line(f"e{at}") for at in range(10)], 20)

    assert list(offsets) == rows.between(begin, end).offsets.tolist()

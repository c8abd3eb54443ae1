"""Slices: each event is in one part of each, with the names that the trainer's check gives them."""

from typing import Any

import numpy as np
import pytest

from millrace.contracts.gates_policy import Slice
from millrace.contracts.profile import Profile
from services.monitor.slices import NO_PART, Slicer
from services.trainer.train.checks.slices import parts_of

NAN = np.nan
PRICES = [0.0, 0.25, 0.3, 1.0, 2.0, 7.5, NAN, 0.5, -1e30, 1e30]
EMPTY = np.empty(0)


def profile(prices: list[float]) -> Profile:
    """Of one feature."""
    return Profile("run", "", 0, 0, 0, 0, {"price": np.array(prices)}, EMPTY, {}, EMPTY, EMPTY, np.empty((0, 2)))


def parts(make: Any, slicer: Slicer, champion: int = 1) -> list[str]:
    """The part that each price is in."""
    rows = make.rows([make.line(f"e{at}", price=price) for at, price in enumerate(PRICES)], champion_version=champion)
    return [slicer.name(code) if code != NO_PART else "" for code in slicer.codes(rows)[:, 0].tolist()]


@pytest.mark.parametrize(
    "declared",
    [
        Slice(feature="price", bins=(0.25, 1.0)),
        Slice(feature="price", bins=(0.12345678, 0.12345679)),
        Slice(feature="price", values=(2, 0, 0.3)),
        Slice(feature="price", bins=3),
    ],
)
def test_parts_are_those_of_the_trainers_check(make: Any, declared: Slice) -> None:
    """Each row is in exactly the part in which the check has it, and under the same name, if that is one name."""
    column = np.array(PRICES, np.float32)
    checked = {part.name: part.rows for part in parts_of(declared, column) if part.rows.any()}
    slicer = Slicer([declared], lambda _: profile(PRICES))

    found = parts(make, slicer)

    if declared.bins == (0.12345678, 0.12345679):
        assert {"-inf < price <= 0.1235", "0.1235 < price <= inf", "price missing"} == set(checked), "too few digits"
        assert 3 == len(set(found)), "the names tell them apart here"
    else:
        assert all(checked[name][row] for row, name in enumerate(found))
        assert set(checked) == set(found)


def test_parts_with_equally_many_rows_are_of_the_champions_training_rows(make: Any) -> None:
    """So they change with the champion; without a profile there are none."""
    slicer = Slicer([Slice(feature="price", bins=2)], {1: profile([0, 1, 2]), 2: profile([5, 6, 7])}.get)

    assert "1 < price <= inf" == parts(make, slicer, 1)[5]
    assert "6 < price <= inf" == parts(make, slicer, 2)[5]
    assert {""} == set(parts(make, slicer, 3))


def test_labels_and_unknown_features_are_in_no_part(make: Any) -> None:
    """A label has no features; a slice by a feature that frames do not have says nothing."""
    slicer = Slicer([Slice(feature="price", bins=(0.5,)), Slice(feature="size", bins=(0.5,))])

    codes = slicer.codes(make.rows([make.line("a"), make.line("a", label=1.0)]))

    assert [[0, NO_PART], [NO_PART, NO_PART]] == codes.tolist()


def test_numbers_keep_their_names(make: Any) -> None:
    """Restored, a number means the part that it meant, and new parts have new ones."""
    declared = [Slice(feature="price", bins=2)]
    first = Slicer(declared, {1: profile([0, 1, 2]), 2: profile([5, 6, 7])}.get)
    said = parts(make, first, 1), parts(make, first, 2)
    second = Slicer(declared, {1: profile([0, 1, 2]), 2: profile([5, 6, 7])}.get)
    second.restore(first.saved())

    assert said[1] == parts(make, second, 2)
    assert first.saved() == second.saved()

"""What every detector is: it takes one number after another and says when their mean has changed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Change:
    """The evidence: means and row counts of the two parts of everything seen since the detector last began anew.

    The parts have no row in common and leave none out, so ``before * before_rows + after * after_rows`` is the sum of
    those rows. That can be checked against the log.
    """

    before: float
    after: float
    before_rows: int
    after_rows: int

    @property
    def rose(self) -> bool:
        """Whether the mean is higher than it was."""
        return self.after > self.before


class Detector(ABC):
    """Watches the mean of a sequence of numbers.

    - Only the order of the numbers counts, not time, not how they are cut into batches: ``feed`` of an array is
      ``update`` of each of its numbers. Nothing is random.
    - NaN and infinities are skipped: the detector is afterwards as if they had never come.
    - After a change it begins anew, as after ``reset``.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""

    @property
    @abstractmethod
    def mean(self) -> float:
        """Mean of the rows that the detector holds to be of one kind, the newest included; 0 if there are none."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many rows ``mean`` stands for."""

    @abstractmethod
    def reset(self) -> None:
        """Begin anew: the state after it is the state after construction."""

    @abstractmethod
    def update(self, value: float) -> Change | None:
        """Take the next number. Returns the evidence if it shows a change."""

    def feed(self, values: npt.NDArray[Any]) -> list[tuple[int, Change]]:
        """Take many numbers. Returns each change with the place in ``values`` of the number that showed it."""
        changes = ((place, self.update(value)) for place, value in enumerate(np.asarray(values, float).tolist()))
        return [(place, change) for place, change in changes if change is not None]

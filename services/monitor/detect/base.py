"""What every detector is: it takes one number after another and says when their mean has changed."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Change:
    """The evidence: means and row counts of the two parts of everything seen since the detector last began anew.

    The parts have no row in common and leave none out, so ``before * before_rows + after * after_rows`` is the sum of
    those rows. That can be checked against the log.

    Attributes:
        before: mean of the older part.
        after: mean of the newer part.
        before_rows: rows of the older part.
        after_rows: rows of the newer part.
        statistic: of the detector, where it has one.
        threshold: what the statistic had to pass.
        p_value: probability of such a statistic without a change.
        log_e_value: evidence against no change, the natural logarithm of an e-value.
    """

    before: float
    after: float
    before_rows: int
    after_rows: int
    statistic: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    log_e_value: float | None = None

    @property
    def rose(self) -> bool:
        """Whether the mean is higher than it was."""
        return self.after > self.before


Takes = Literal["numbers", "shares", "bits"]
"""What numbers a detector is made for: any, those from 0 to 1, or only 0 and 1 (1 is an error)."""


class Detector(ABC):
    """Watches the mean of a sequence of numbers.

    - Only the order of the numbers counts, not time, not how they are cut into batches: ``feed`` of an array is
      ``update`` of each of its numbers. Nothing is random.
    - NaN and infinities are skipped: the detector is afterwards as if they had never come.
    - After a change it begins anew, as after ``reset``.
    - ``saved`` is plain data, ready for JSON, and bounded. A detector that is restored from it, and the one that saved
      it and then restored itself from it, go on equally, to the last bit.
    - Numbers that it does not ``take`` are refused with a ``ValueError`` before any of them is taken.
    """

    name: ClassVar[str]
    takes: ClassVar[Takes] = "numbers"

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
    def saved(self) -> dict[str, Any]:
        """All that it remembers, as plain floats, integers, strings and lists of them."""

    @abstractmethod
    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved, by a detector of the same parameters, and forget all else."""

    @abstractmethod
    def update(self, value: float) -> Change | None:
        """Take the next number. Returns the evidence if it shows a change."""

    def changes(self, values: npt.NDArray[Any]) -> Iterator[tuple[int, Change]]:
        """Take many numbers, up to the next change each time that one is asked for.

        Yields each change with the place in ``values`` of the number that showed it, before the numbers behind it are
        taken. Whoever asks for no more has given the detector no more.
        """
        for place, value in enumerate(np.asarray(values, float).tolist()):
            change = self.update(value)
            if change is not None:
                yield place, change

    def feed(self, values: npt.NDArray[Any]) -> list[tuple[int, Change]]:
        """Take many numbers. Returns all changes, as :meth:`changes` gives them."""
        return list(self.changes(values))

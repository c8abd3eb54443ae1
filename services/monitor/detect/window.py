"""What every window detector is: it compares the rows of a window with reference rows that it was prepared from."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kind = Literal["numbers", "categories", "both", "rows"]
"""What a detector judges: one feature of many distinct values, of few, of either kind, or whole rows."""

LEVEL = 0.001


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a detector says of a window.

    Attributes:
        statistic: how far the window is from the reference, in the unit of the detector; 0 where nothing can be said.
        threshold: what the statistic had to pass for a p-value of the detector's ``level``.
        p_value: probability of such a statistic if the window's rows come from where the reference rows came from. It
            counts in that both are samples.
        reference_rows: rows of the reference that were compared.
        window_rows: rows of the window that were compared.
    """

    statistic: float
    threshold: float
    p_value: float
    reference_rows: int
    window_rows: int


class WindowDetector(ABC):
    """Compares windows with a reference.

    - It is prepared once, from the reference rows, and never changes: the same window always gives the same.
    - The p-value is valid if reference and window are independent samples of one distribution: it is at most ``u`` with
      probability at most ``u``, but for the approximation that the class names. It is marginal: windows that are
      compared with the same reference share its luck, so their p-values are not independent of each other.
    - What is no finite number is missing: only the missing rate looks at it. Nothing to compare gives a p-value of 1.
    - Rows that depend on each other (a sensor read each second) give smaller p-values than they should.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""

    @abstractmethod
    def judge(self, values: npt.NDArray[Any]) -> Comparison:
        """Compare these rows with the reference. Their order does not matter."""


class Counted(WindowDetector):
    """A detector of one feature that needs no more of a window than how many rows fell into each of its cells.

    So rows can be counted as they come, in any cuts, and windows can be pooled by adding their counts.
    """

    reference: Ints

    def judge(self, values: npt.NDArray[Any]) -> Comparison:
        """Compare these rows with the reference. Their order does not matter."""
        return self.compare(self.count(np.asarray(values, float)))

    @abstractmethod
    def count(self, values: Floats) -> Ints:
        """Rows in each cell."""

    @abstractmethod
    def compare(self, counts: Ints) -> Comparison:
        """Compare rows that were counted with the reference."""

    @abstractmethod
    def p_values(self, counts: Ints) -> Floats:
        """The p-value of each line of a table of counts."""


def finite(values: npt.NDArray[Any]) -> Floats:
    """Those that are finite numbers."""
    numbers: Floats = np.asarray(values, float)
    kept: Floats = numbers[np.isfinite(numbers)]
    return kept


def effective_rows(reference: float, window: Any) -> Any:
    """What both sample sizes come to, ``n m / (n + m)``; 0 if either is empty.

    >>> float(effective_rows(2000, 500))
    400.0
    """
    return reference * window / np.maximum(reference + window, 1)

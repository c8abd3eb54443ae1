"""What the detectors by river share: how they are fed, what their evidence is, how they are saved."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from services.monitor.detect.base import Change, Detector, Takes
from services.monitor.detect.split import HISTORY_ROWS, History

PART_ROWS_MIN = 5  # as ADWIN's min_window_length
LIMITS: Mapping[Takes, str] = {"shares": "numbers from 0 to 1", "bits": "0 (right) and 1 (wrong)"}


def whole(name: str, value: float) -> int:
    """A parameter that counts something; in model.yaml every number may be a float.

    >>> whole("clock", 32.0)
    32
    """
    if value != int(value):
        raise ValueError(f"{name} is a number of rows, not {value}; give a whole number")
    return int(value)


class ByRiver(Detector):
    """A detector of river, with the history of the rows since it began.

    A river detector cannot be written down, and nothing is ever unpickled here. What is saved is the number of rows,
    their sum and the newest of them; ``restore`` feeds these to a new river detector. It has then forgotten what came
    earlier than they, and so has the one that saved them, because it restores itself from the same.
    """

    def __init__(self, parameters: Mapping[str, float]) -> None:
        self._parameters = dict(parameters)
        self.reset()

    @abstractmethod
    def _new(self) -> Any:
        """A new detector of river's."""

    @property
    def _replayed(self) -> int:
        """How many of the newest rows make a new river detector what the old one was."""
        return HISTORY_ROWS

    def _given(self, value: float) -> float:
        """The number as river wants it."""
        return value

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""
        return self._parameters

    @property
    def mean(self) -> float:
        """Mean of all rows since the detector began."""
        return self._history.mean

    @property
    def rows(self) -> int:
        """Rows since the detector began."""
        return self._history.rows

    def reset(self) -> None:
        """Begin anew, with a new detector and no history."""
        self._river = self._new()
        self._history = History()

    def update(self, value: float) -> Change | None:
        """Take the next number. Returns the evidence if it shows a change."""
        if not math.isfinite(value):
            return None
        self._refuse(np.array([value]))
        self._river.update(self._given(value))
        self._history.add(value)
        return self._change() if self._river.drift_detected else None

    def changes(self, values: npt.NDArray[Any]) -> Iterator[tuple[int, Change]]:
        """Take many numbers; the history is brought up to date once for each stretch without a change."""
        numbers = np.asarray(values, float)
        places = np.flatnonzero(np.isfinite(numbers))
        self._refuse(numbers[places])
        kept = numbers[places].tolist()
        begin, river = 0, self._river
        for at, value in enumerate(kept):
            river.update(self._given(value))
            if river.drift_detected:
                self._history.extend(kept[begin : at + 1])
                change = self._change()
                begin, river = at + 1, self._river
                yield int(places[at]), change
        self._history.extend(kept[begin:])

    def saved(self) -> dict[str, Any]:
        """Number, sum and the newest of the rows since the detector began."""
        return self._history.saved()

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Feed the saved rows to a new detector. What it finds among them is no news and is dropped."""
        self.reset()
        for value in saved["newest"][-self._replayed :]:
            self._river.update(self._given(value))
        if self._river.drift_detected:
            self._river = self._new()
        self._history.restore(saved)

    def _refuse(self, values: npt.NDArray[np.float64]) -> None:
        """Raise for the first number that the detector is not made for."""
        if self.takes == "numbers":
            return
        fits = (values >= 0) & (values <= 1) if self.takes == "shares" else (values == 0) | (values == 1)
        if not fits.all():
            raise ValueError(
                f"{self.name} takes only {LIMITS[self.takes]}, not {values[~fits][0]:g}; "
                "watch other numbers by adwin, page_hinkley or kswin"
            )

    def _change(self) -> Change:
        change = self._history.split(PART_ROWS_MIN)
        self.reset()
        return change

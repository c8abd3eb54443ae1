"""Features that need of each entity one or two numbers only: the time since a row, the exponentially weighted mean."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.feature_spec import Ewm, TimeSince
from millrace.features.definitions import NAN, half_life
from millrace.features.frames import Arrays
from millrace.features.run import Run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Scalars:
    """Two numbers for each feature and entity: the time that is looked back to; or the sum and its weight."""

    def __init__(self, specs: Sequence[tuple[int, TimeSince | Ewm]]) -> None:
        self._specs = specs
        self.fields = tuple({spec.field for _, spec in specs if spec.field is not None})
        self._kept = np.zeros((len(specs), 2, 0))

    def advance(self, run: Run, times: Floats, before: Floats, values: Mapping[str, Floats], columns: Floats) -> None:
        """Take in the events of a run, sorted as it is. ``before`` is the entity's newest time before each of them."""
        lane = run.events
        has = lane.after > lane.before
        codes, first, last = run.codes[has], lane.before[has], lane.after[has] - 1
        if not len(codes):
            return
        more = int(codes.max()) + 1 - self._kept.shape[2]
        if more > 0:
            old = self._kept.shape[2]
            self._kept = np.pad(self._kept, ((0, 0), (0, 0), (0, max(more, old))))
            self.forget(np.arange(old, self._kept.shape[2]))
        for place, (column, spec) in enumerate(self._specs):
            kept = self._kept[place]
            if isinstance(spec, Ewm):
                columns[column] = _weigh(spec, kept, codes, first, last, times - before, values[spec.field])
            else:
                hits = np.ones(len(times), np.bool_) if spec.field is None else values[spec.field] > (spec.above or 0.0)
                columns[column] = _since(kept[0], codes, first, last, times, hits)

    def forget(self, codes: Ints) -> None:
        """These entities are as if never seen."""
        codes = codes[codes < self._kept.shape[2]]
        for place, (_, spec) in enumerate(self._specs):
            self._kept[place][:, codes] = 0.0 if isinstance(spec, Ewm) else NAN

    def parts(self, codes: Ints) -> Arrays:
        """What is to be saved of these entities."""
        short = int(codes.max(initial=-1)) + 1 - self._kept.shape[2]
        if short > 0:
            old = self._kept.shape[2]
            self._kept = np.pad(self._kept, ((0, 0), (0, 0), (0, short)))
            self.forget(np.arange(old, old + short))
        return {"scalars": self._kept[:, :, codes]}

    def put(self, arrays: Arrays) -> None:
        """Take what was saved, for the codes from 0 on."""
        self._kept = arrays["scalars"].copy()


def _since(kept: Floats, codes: Ints, first: Ints, last: Ints, times: Floats, hits: NDArray[np.bool_]) -> Floats:
    """Seconds since the newest hit before each event; ``kept`` has that of each entity and is brought up to date."""
    newest_hit = np.maximum.accumulate(np.where(hits, np.arange(len(times)), -1))
    before = np.concatenate((np.array([-1]), newest_hit[:-1]))
    counts = last + 1 - first
    in_run = before >= np.repeat(first, counts)
    since = np.where(in_run, times[before], np.repeat(kept[codes], counts))
    hit = newest_hit[last] >= first
    kept[codes[hit]] = times[newest_hit[last[hit]]]
    found: Floats = (times - since) / 1000
    return found


def _weigh(spec: Ewm, kept: Floats, codes: Ints, first: Ints, last: Ints, passed: Floats, values: Floats) -> Floats:
    """The mean at each event, one after the other: each rests on the one before it, rounded as it is."""
    constant = None if spec.half_life_rows is None else half_life(spec, 0.0)
    decays = None if constant is not None else [half_life(spec, max(0.0, ms)) for ms in passed.tolist()]
    plain, found = values.tolist(), []
    for code, start, stop in zip(codes.tolist(), first.tolist(), (last + 1).tolist(), strict=True):
        total, weight = kept[:, code].tolist()
        for place in range(start, stop):
            decay = decays[place] if decays is not None else constant
            total *= decay
            weight *= decay
            value = plain[place]
            if value == value:  # noqa: PLR0124  # NaN differs from itself
                total += value
                weight += 1.0
            found.append(total / weight if weight else NAN)
        kept[:, code] = total, weight
    return np.array(found)

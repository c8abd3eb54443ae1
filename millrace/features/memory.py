"""What is kept of all entities of a partition: for each series the newest values of each entity."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.feature_spec import FeatureSpec, LabelMean, LabelShare, RollingMean, RollingShare
from millrace.features.definitions import NAN
from millrace.features.frames import Arrays
from millrace.features.run import Lane, Run
from millrace.features.series import Scratch, Series, feature, windows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIRST_WIDTH = 64  # values kept per entity before rows are doubled for the first time
FIRST_ENTITIES = 64


class Memory:
    """What is kept of one kind of row, events or labels: one or more series of values."""

    def __init__(self, series: "list[Kept]") -> None:
        self.series = series
        self._seen = np.zeros(0, np.int64)

    def advance(self, run: Run, lane: Lane, values: Mapping[str, Floats], entities: int, columns: Floats) -> None:
        """Take in the new values of a run and fill the columns of the features that look at them."""
        if not self.series:
            return
        if entities > len(self._seen):
            more = max(FIRST_ENTITIES, 2 * len(self._seen), entities) - len(self._seen)
            self._seen = np.pad(self._seen, (0, more))
            for kept in self.series:
                kept.add_entities(more)
        seen = self._seen[run.codes] + (lane.after - lane.before)
        self._seen[run.codes] = seen
        for kept in self.series:
            if not kept.full:
                kept.widen(int(seen.max()))
            kept.advance(run, lane, values[kept.name], columns)

    def forget(self, codes: Ints) -> None:
        """These entities are as if never seen."""
        codes = codes[codes < len(self._seen)]
        self._seen[codes] = 0
        for kept in self.series:
            kept.forget(codes)

    def parts(self, codes: Ints) -> Arrays:
        """What is to be saved of these entities: how many values each has seen, and those that are kept."""
        missing = int(codes.max(initial=-1)) + 1 - len(self._seen)
        seen = np.pad(self._seen, (0, max(0, missing)))[codes]
        return {"seen": seen, **{f"of_{n}": kept.part(codes, seen) for n, kept in enumerate(self.series)}}

    def put(self, arrays: Arrays) -> None:
        """Take what was saved, for the codes from 0 on."""
        self._seen = arrays["seen"].copy()
        for number, kept in enumerate(self.series):
            kept.put(arrays[f"of_{number}"], self._seen)


class Kept:
    """The newest values of one series, one row for each entity, the newest value in the last column."""

    def __init__(self, name: str, depth: int, specs: list[tuple[int, FeatureSpec]], scratch: Scratch) -> None:
        self.name = name
        self._depth = depth
        self._features = [(column, feature(spec)) for column, spec in specs]
        self._scratch = scratch
        self._values = np.empty((0, min(depth, FIRST_WIDTH)))
        means = [spec.rows for _, spec in specs if isinstance(spec, RollingMean | LabelMean)]
        self._mean_widths = sorted({rows for rows in means if rows is not None})
        self._counts = any(isinstance(spec, RollingMean | LabelMean | RollingShare | LabelShare) for _, spec in specs)

    @property
    def width(self) -> int:
        """How many values there is room for per entity."""
        return self._values.shape[1]

    @property
    def full(self) -> bool:
        """Whether the rows are as wide as any feature looks back."""
        return self._values.shape[1] == self._depth

    def widen(self, needed: int) -> None:
        """Make the rows so wide that a history of that many values fits, as far as features look back."""
        width = self._values.shape[1]
        if needed > width:
            more = min(self._depth, max(2 * width, needed)) - width
            self._values = np.pad(self._values, ((0, 0), (more, 0)), constant_values=NAN)

    def add_entities(self, more: int) -> None:
        """Make room for so many more entities."""
        self._values = np.pad(self._values, ((0, more), (0, 0)), constant_values=NAN)

    def forget(self, codes: Ints) -> None:
        """These entities have no values."""
        self._values[codes] = NAN

    def part(self, codes: Ints, seen: Ints) -> Floats:
        """The values of these entities that have been seen, one entity after the other, the oldest first."""
        inside = codes < len(self._values)
        values = self._values[codes[inside]]
        found: Floats = values[np.arange(self.width) >= self.width - seen[inside, None]]
        return found

    def put(self, values: Floats, seen: Ints) -> None:
        """Take what ``part`` gave."""
        self._values = np.full((len(seen), min(self._depth, FIRST_WIDTH)), NAN)
        self.widen(int(seen.max(initial=0)))
        self._values[np.arange(self.width) >= self.width - seen[:, None]] = values

    def advance(self, run: Run, lane: Lane, values: Floats, columns: Floats) -> None:
        """Take in the new values and fill the columns of this series' features."""
        width = self._values.shape[1]
        cells = len(run.codes) * width + len(lane.order)
        self._scratch.make_room(cells)
        flat = self._scratch.floats[0][:cells]
        layout = lane.layout(run, width)
        flat[layout.new] = values[lane.order]
        if width:
            places = windows(flat, width)
            places[layout.kept_before] = self._values[run.codes]
            self._values[run.codes] = places[layout.kept_after]
        # an event sees its own value beyond the kept ones; of the labels it sees only what is kept by then
        series = Series(flat, layout.newest, width + (lane is run.events), self._scratch)
        if self._counts:
            series.count(self._mean_widths)
        for column, read in self._features:
            columns[column] = read(series)

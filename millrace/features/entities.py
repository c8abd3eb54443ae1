"""The entities of a partition: their codes, the newest event time of each, and which have expired."""

import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from millrace.features.frames import Arrays, Meta
from millrace.features.run import Run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NONE: Ints = np.zeros(0, np.int64)


class Entities(dict[str, int]):
    """Entity to code. Looking up an entity that is not there gives it a free code, else the next one.

    Parameters:
        expire_after_s: see ``PartitionFeatures``; None is for ever.
        expiry_rows: rows between two looks for expired entities.
    """

    def __init__(self, expire_after_s: float | None, expiry_rows: int) -> None:
        super().__init__()
        self._expire_ms = None if expire_after_s is None else expire_after_s * 1000
        self._expiry_rows = expiry_rows
        self._rows = 0
        self._newest_ms = -math.inf
        self._newest: Floats = np.full(0, -math.inf)
        self._idle = _NONE
        self._names: list[str] = []
        self._free: list[int] = []

    def __missing__(self, entity: str) -> int:
        if self._free:
            code = self._free.pop()
            self._names[code] = entity
        else:
            code = len(self._names)
            self._names.append(entity)
        self[entity] = code
        return code

    @property
    def capacity(self) -> int:
        """One more than the highest code."""
        return len(self._names)

    @property
    def rows_to_expiry(self) -> int:
        """How many rows may come before the next look for expired entities."""
        return self._expiry_rows - self._rows % self._expiry_rows

    @property
    def expires(self) -> bool:
        """Whether entities are forgotten at all."""
        return self._expire_ms is not None

    def newest(self, run: Run, times: Floats) -> tuple[Floats, Floats]:
        """For each event, sorted as the run: the newest time of its entity before it, and up to it."""
        more = self.capacity - len(self._newest)
        if more > 0:
            self._newest = np.pad(self._newest, (0, max(more, len(self._newest))), constant_values=-math.inf)
        lane = run.events
        has = lane.after > lane.before
        codes, first, last = run.codes[has], lane.before[has], lane.after[has] - 1
        before, until = np.empty_like(times), times.copy()
        if len(times):
            until[first] = np.maximum(times[first], self._newest[codes])
            falls = until[1:] < until[:-1]
            falls[first[1:] - 1] = False  # from one entity to the next
            if falls.any():
                for start, stop in zip(first.tolist(), (last + 1).tolist(), strict=True):
                    np.maximum.accumulate(until[start:stop], out=until[start:stop])
            before[1:] = until[:-1]
            before[first] = self._newest[codes]
            self._newest[codes] = until[last]
            self._newest_ms = max(self._newest_ms, float(times.max()))
        return before, until

    def count(self, rows: int) -> Ints:
        """Count rows that came; returns the codes of entities to forget now. They stay taken until ``release``."""
        self._rows += rows
        if self._expire_ms is None or self._rows % self._expiry_rows or not rows:
            return _NONE
        live = np.fromiter(self.values(), np.int64, len(self))
        live = live[live < len(self._newest)]
        gone: Ints = live[self._newest[live] < self._newest_ms - self._expire_ms]
        self._newest[gone] = -math.inf
        self._idle = np.union1d(self._idle, gone)
        return gone

    def came(self, codes: Ints) -> None:
        """These entities have rows; what was to be released of them is needed again."""
        if len(self._idle):
            self._idle = np.setdiff1d(self._idle, codes)

    def release(self) -> None:
        """Free the codes of forgotten entities that did not come back."""
        for code in self._idle.tolist():
            del self[self._names[code]]
            self._free.append(code)
        self._idle = _NONE

    def parts(self) -> tuple[Ints, Meta, Arrays]:
        """What is to be saved: the codes in use, in the order in which they are saved, and the rest."""
        codes = np.fromiter(self.values(), np.int64, len(self))
        padded = np.pad(self._newest, (0, max(0, self.capacity - len(self._newest))), constant_values=-math.inf)
        names = np.frombuffer(json.dumps(list(self)).encode(), np.uint8)
        newest = None if math.isinf(self._newest_ms) else self._newest_ms
        return codes, {"rows": self._rows, "newest_ms": newest}, {"names": names, "newest": padded[codes]}

    def put(self, meta: Meta, arrays: Arrays) -> None:
        """Take what was saved; codes are given anew, in the order of saving."""
        names: Sequence[str] = json.loads(arrays["names"].tobytes())
        self._rows = meta["rows"]
        self._newest_ms = -math.inf if meta["newest_ms"] is None else meta["newest_ms"]
        self._names = list(names)
        self.update({name: code for code, name in enumerate(names)})
        self._newest = arrays["newest"].astype(np.float64)

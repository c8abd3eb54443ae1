"""Who is compared: the monitor as it runs by default, and river's detectors as they come, each on every event.

*ours* is ``services.monitor.watch.Watch`` with all defaults of ``monitors:`` in model.yaml, fed with frames of events
and their labels as serving writes them. What counts is an ALARM, which asks for a retrain. All count, as if none
were ever held back by an open request or by the budget, and no retrain ever mended anything. The warnings about
features are a row of their own.

The others are *bare*: river's class with river's defaults, on the errors of the model; two of them also on each of the
inputs, where an alarm of any one feature is an alarm. KSWIN costs half a millisecond a row, so it sees only a part of
the rows. It remembers no more than the newest 100, so that a beginning shortly before the drift is no loss.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from river import drift
from river.drift import binary

from benchmarks.drift.streams import Stream
from millrace.contracts.monitor_policy import Monitors
from millrace.contracts.project import load_project
from services.monitor.frames import Rows
from services.monitor.policy import Policy
from services.monitor.watch import Drift, Watch

OURS, OUR_WARNINGS = "ours", "ours, warnings about inputs"
RIVER: Any = drift  # river's own annotations are incomplete
BINARY: Any = binary
FRAME_EVENTS = 1_000
VERSION = 1
PROJECT = Path(__file__).parents[2] / "examples" / "electricity"
SLOW_BEFORE_ROWS, SLOW_STABLE_ROWS = 500, 8_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bare:
    """A detector of river's.

    Attributes:
        make: a new one.
        inputs: whether it watches each feature instead of the error.
        slow: whether it is only run around the drifts, and on a part of what is stable.
    """

    make: Callable[[], Any]
    inputs: bool = False
    slow: bool = False


BARE: Mapping[str, Bare] = {
    "ADWIN": Bare(RIVER.ADWIN),
    "PageHinkley": Bare(RIVER.PageHinkley),
    "DDM": Bare(BINARY.DDM),
    "EDDM": Bare(BINARY.EDDM),
    "FHDDM": Bare(BINARY.FHDDM),
    "HDDM_A": Bare(BINARY.HDDMA),
    "HDDM_W": Bare(BINARY.HDDMW),
    "KSWIN": Bare(lambda: RIVER.KSWIN(seed=7), slow=True),
    "ADWIN on each input": Bare(RIVER.ADWIN, inputs=True),
    "KSWIN on each input": Bare(lambda: RIVER.KSWIN(seed=7), inputs=True, slow=True),
}


def bare_alarms(bare: Bare, stream: Stream, begin: int, end: int) -> Iterator[int]:
    """The rows from ``begin`` up to ``end`` at which a fresh detector says that there is a drift, as they come."""
    columns = stream.features[begin:end].T if bare.inputs else stream.errors[np.newaxis, begin:end]
    detectors = [bare.make() for _ in columns]
    if not bare.inputs:
        yield from _steps(detectors[0], columns[0].astype(np.int64).tolist(), begin)
        return
    for number, row in enumerate(columns.T.tolist(), begin):
        found = False
        for detector, value in zip(detectors, row, strict=True):
            detector.update(value)
            found |= detector.drift_detected
        if found:
            yield number


def _steps(detector: Any, values: Sequence[float], begin: int) -> Iterator[int]:
    for number, value in enumerate(values, begin):
        detector.update(value)
        if detector.drift_detected:
            yield number


@cache
def default_policy() -> Policy:
    """The policy of a model whose ``monitors:`` says nothing."""
    return Policy.of(load_project(PROJECT).model_copy(update={"monitors": Monitors()}))


def our_alarms(stream: Stream, policy: Policy | None = None) -> dict[str, list[int]]:
    """The rows at which the monitor asks for a retrain, and those at which it warns about an input."""
    watch = watch_of(policy or default_policy(), stream)
    found: dict[str, list[int]] = {OURS: [], OUR_WARNINGS: []}
    for begin in range(0, len(stream.labels), FRAME_EVENTS):
        for finding in watch.take(frame(stream, begin, min(begin + FRAME_EVENTS, len(stream.labels)))):
            if isinstance(finding, Drift):
                place = int(finding.event_id)
                if finding.severity == "ALARM":
                    found[OURS].append(place)
                elif finding.subject.startswith("feature"):
                    found[OUR_WARNINGS].append(place)
    return found


def watch_of(policy: Policy, _stream: Stream) -> Watch:
    """A watch of one partition, of a version that has no training profile."""
    return Watch(policy)


def frame(stream: Stream, begin: int, end: int) -> Rows:
    """Some events, each followed by its label, as serving writes them; an event a second."""
    events = end - begin
    rows = 2 * events
    is_label = np.arange(rows) % 2 == 1
    numbers = np.arange(begin, end)
    values, labels = np.full(rows, np.nan), np.full(rows, np.nan)
    values[0::2], labels[1::2] = stream.values[begin:end], stream.labels[begin:end]
    features = np.full((stream.features.shape[1], rows), np.nan)
    features[:, 0::2] = stream.features[begin:end].T
    return Rows(
        offsets=np.arange(2 * begin, 2 * end),
        is_label=is_label,
        event_ids=[str(number) for number in numbers.tolist() for _ in range(2)],
        times_ms=np.repeat(1000 * numbers, 2),
        versions=np.where(is_label, 0, VERSION).astype(np.int32),
        values=values,
        labels=labels,
        scores=np.empty((rows, 0)),
        other_versions=np.zeros(rows, np.int32),
        other_values=np.full(rows, np.nan),
        other_scores=np.empty((rows, 0)),
        features={f"f{number}": column for number, column in enumerate(features)},
        epoch=1,
        champion=VERSION,
        rollout_id=None,
        variants=(),
        until_offset=2 * end,
    )

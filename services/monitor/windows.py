"""The rows in windows of event time, compared with the rows that the champion was trained on.

1. Event rows are cut into windows by ``monitors.windows``, in the order of the log. A window ends before the first row
   whose event time is ``window_s`` or more after that of its first row, once it has ``rows_min`` rows, or with its
   ``rows_max``-th row. A late row belongs to the window in which it comes. Of a long window a part of the rows is kept
   and compared, spread over it (``window_sample.py``): the cost is that of windows, hardly that of rows.
2. Each feature is compared with that of the training rows, predictions and scores of the champion with those of the
   hold-out rows (the training rows are known to the model, and its answers to them are better than they should be).
   A feature of few values (``detect.tables.values_of``) is judged by the detectors of categories, others by those of
   numbers. A score that follows from another (two classes) is not judged twice.
3. ``window_evidence.py`` makes one decision of it and says how often it is wrong. What is told are the subjects that
   carry the evidence, each with its strongest detector, since the first window of the pool that shows it best.
4. A subject that was told forgets its windows and is quiet for ``COOL_DOWN_WINDOWS`` windows, after the next time twice
   as many, and so on: a drift that lasts n windows is told about log2(n / 20) times. Others are not kept quiet. A new
   version is a new beginning.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace.contracts.monitor_policy import Windows
from millrace.contracts.profile import Profile
from services.monitor.detect import WINDOW_DETECTORS, Change, Counted
from services.monitor.detect.tables import values_of
from services.monitor.frames import Floats, Ints, Rows
from services.monitor.window_evidence import JUDGED, SCALES, least_p_value, named, needed
from services.monitor.window_sample import Sample
from services.monitor.window_streams import Column, Joint, Seen

COOL_DOWN_WINDOWS = 20
FEATURES, PREDICTION = "features", "prediction"
FEATURE, SCORE = "feature:", "score:"
TWO_CLASSES = 2


@dataclass(frozen=True, slots=True)
class WindowDrift:
    """Something of the rows is not as it was in training.

    Attributes:
        subject: ``feature:<name>``, ``features`` (all together), ``prediction`` or ``score:<class index>``.
        detector: name of the strongest one.
        row: place in the given rows of the row that ended the window.
        change: means (missing rate: shares of missing rows; ``features``: means of the classifier's score) and rows
            that were compared.
        parameters: of the detector, and of the decision: windows pooled, streams, the joint evidence and what it needs.
        statistic: of the detector.
        threshold: what the statistic would have to pass to be a warning by itself.
        p_value: of the pool that shows it best.
        log_e_value: natural logarithm of this stream's e-value, of all its pools.
        bins: edges of the histograms; empty where ``categories`` name their cells.
        categories: see ``bins``.
        before_counts: histogram of the training (or hold-out) rows.
        after_counts: histogram of the pool.
        since_time_ms: event time of the first row of the pool.
        since_offset: samples offset of that row.
        message: in words.
    """

    subject: str
    detector: str
    row: int
    change: Change
    parameters: Mapping[str, float]
    statistic: float
    threshold: float
    p_value: float
    log_e_value: float
    bins: tuple[float, ...]
    categories: tuple[str, ...]
    before_counts: tuple[int, ...]
    after_counts: tuple[int, ...]
    since_time_ms: int
    since_offset: int
    message: str


class WindowWatch:
    """The windows of one partition. Equal rows give equal findings, however they are cut into frames.

    Args:
        policy: ``monitors.windows``.
        features: those that are compared; none means all that profile and rows have.
        task: of the model.
        classes: number of scores of a prediction.
    """

    def __init__(
        self, policy: Windows, features: Sequence[str] = (), task: str = "classification", classes: int = 0
    ) -> None:
        self._policy, self._features, self._task, self._classes = policy, tuple(features), task, classes
        self._quiet: dict[str, tuple[int, int]] = {}  # windows left, and how long the quiet was
        self._version, self._run_id = 0, ""
        self._clear([])

    @property
    def subjects(self) -> list[str]:
        """What is compared; empty without a profile."""
        return [watched.subject for watched in self._watched]

    def begin(self, version: int, profile: Profile | None) -> None:
        """Compare with the rows of this version from here on. The same again changes nothing."""
        run_id = profile.run_id if profile else ""
        if (version, run_id) != (self._version, self._run_id):
            self._version, self._run_id = version, run_id
            self._clear(self._prepared(profile) if profile else [])

    def take(self, rows: Rows, values: Floats, scores: Floats) -> list[WindowDrift]:
        """Take rows of this version's time. Returns what the windows that end among them show.

        Args:
            rows: labels among them are passed over.
            values: what the version says in each row, NaN where it does not.
            scores: of the same, (rows, classes) or (rows, 0).
        """
        if not self._watched:
            return []
        events = np.flatnonzero(~rows.is_label)
        times, found, begin = rows.times_ms[events], [], 0
        columns = self._columns(rows, values, scores)
        while begin < len(events):
            if not self._rows:
                self._starts.append((int(rows.offsets[events[begin]]), int(times[begin])))
            end, closing = self._end(times, begin)
            self._sample.take(columns, events[begin:end])
            self._rows += end - begin
            if closing is not None:
                found += self._close(int(events[closing]))
            begin = end
        return found

    def saved(self) -> dict[str, Any]:
        """All that is remembered, as plain data; not the profile."""
        return {
            "version": self._version,
            "run_id": self._run_id,
            "rows": self._rows,
            "sample": self._sample.saved(),
            "starts": [list(start) for start in self._starts],
            "quiet": {subject: list(quiet) for subject, quiet in self._quiet.items()},
            "watched": {watched.subject: watched.saved() for watched in self._watched},
        }

    def restore(self, saved: Mapping[str, Any], profile: Profile | None) -> None:
        """Go on from what was saved under the same policy. Without the version's profile nothing is compared."""
        self.begin(int(saved["version"]), profile)
        for watched in self._watched:
            watched.begin()
        self._clear(self._watched)  # detectors never change: what was prepared is kept
        if self._run_id != saved["run_id"]:
            return
        self._rows = int(saved["rows"])
        self._sample.restore(saved["sample"])
        self._starts.extend((int(offset), int(time_ms)) for offset, time_ms in saved["starts"])
        self._quiet = {subject: (int(left), int(length)) for subject, (left, length) in saved["quiet"].items()}
        for watched in self._watched:
            if watched.subject in saved["watched"]:
                watched.restore(saved["watched"][watched.subject])

    def _clear(self, watched: list[Column | Joint]) -> None:
        self._watched = watched
        self._streams = sum(len(each.detectors) if isinstance(each, Column) else 1 for each in watched)
        self._names = _columns_of(watched)
        self._sample = Sample(len(self._names))
        self._rows = 0
        self._starts: deque[tuple[int, int]] = deque(maxlen=SCALES[-1])
        self._quiet = {}

    def _prepared(self, profile: Profile) -> list[Column | Joint]:
        """The subjects with their detectors, which know the number of them all."""
        names = [name for name in profile.features if not self._features or name in self._features]
        columns = {f"{FEATURE}{name}": profile.features[name] for name in names}
        columns[PREDICTION] = profile.holdout_values
        first = 1 if (self._classes or profile.holdout_scores.shape[1]) == TWO_CLASSES else 0
        for index in range(first, profile.holdout_scores.shape[1]):
            columns[f"{SCORE}{index}"] = profile.holdout_scores[:, index]
        judges = {name: self._judges(name, column) for name, column in columns.items() if np.isfinite(column).any()}
        judges = {name: makes for name, makes in judges.items() if makes}
        joint = "domain_classifier" in self._policy.detectors and len(names) > 1
        streams = sum(map(len, judges.values())) + joint
        least = least_p_value(max(streams, 1), self._policy.false_alarm_windows)
        watched: list[Column | Joint] = [
            Column(name, columns[name], [make(columns[name], level=least) for make in makes], least)
            for name, makes in judges.items()
        ]
        if joint:
            features = {name: profile.features[name] for name in names}
            watched.append(Joint(FEATURES, features, level=JUDGED * least, least=least))
        return watched

    def _judges(self, subject: str, reference: Floats) -> list[Any]:
        """The detectors of a subject, by its kind. Only inputs can be missing: not every row was answered."""
        classes = subject == PREDICTION and self._task == "classification"
        kind = "categories" if classes or values_of(reference) is not None else "numbers"
        makes = [WINDOW_DETECTORS[name] for name in self._policy.detectors]
        return [
            make
            for make in makes
            if issubclass(make, Counted)
            and make.kind in {kind, "both"}
            and (make.name != "missing_rate" or subject.startswith(FEATURE))
        ]

    def _columns(self, rows: Rows, values: Floats, scores: Floats) -> list[Floats | None]:
        """What the sample takes its rows from; None is a column that these rows have not."""
        columns = {f"{FEATURE}{name}": column for name, column in rows.features.items()}
        columns[PREDICTION] = values
        columns |= {f"{SCORE}{index}": column for index, column in enumerate(scores.T)}
        return [columns.get(name) for name in self._names]

    def _end(self, times: Ints, begin: int) -> tuple[int, int | None]:
        """Where the rows of the open window end, and which row ends it, if one does."""
        full = begin + self._policy.rows_max - self._rows
        earliest = begin + max(self._policy.rows_min - self._rows, 0)
        late = np.flatnonzero(times[earliest:full] - self._starts[-1][1] >= round(1000 * self._policy.window_s))
        if len(late):
            return earliest + int(late[0]), earliest + int(late[0])
        return (full, full - 1) if full <= len(times) else (len(times), None)

    def _close(self, row: int) -> list[WindowDrift]:
        """End the window and judge what it showed."""
        streams = [seen for watched in self._watched for seen in self._seen(watched)]
        self._rows = 0
        self._sample.begin()
        evidence = np.array([0.0 if self._quiet.get(seen.subject, (0, 0))[0] else seen.e_value for seen in streams])
        self._quiet = {subject: (max(left - 1, 0), length) for subject, (left, length) in self._quiet.items()}
        joint = float(evidence.mean())
        if joint < needed(self._policy.false_alarm_windows):
            return []
        best: dict[str, Seen] = {}
        for seen in (streams[place] for place in named(evidence)):
            held = best.setdefault(seen.subject, seen)
            if (seen.e_value, -seen.p_value) > (held.e_value, -held.p_value):
                best[seen.subject] = seen
        return [
            self._told(watched, best[watched.subject], joint, row)
            for watched in self._watched
            if watched.subject in best
        ]

    def _seen(self, watched: Column | Joint) -> list[Seen]:
        """What the kept rows of the window show of one subject."""
        if isinstance(watched, Joint):
            return watched.close(self._sample.table([self._names[f"{FEATURE}{name}"] for name in watched.names]))
        return watched.close(self._sample.column(self._names[watched.subject]))

    def _told(self, watched: Column | Joint, seen: Seen, joint: float, row: int) -> WindowDrift:
        """The finding; its subject is quiet from here on."""
        shown = watched.show(seen)
        offset, time_ms = self._starts[-seen.pooled]
        length = 2 * self._quiet.get(seen.subject, (0, COOL_DOWN_WINDOWS // 2))[1]
        self._quiet[seen.subject] = (length, length)
        watched.begin()
        decision = {
            "windows": seen.pooled,
            "streams": self._streams,
            "false_alarm_windows": self._policy.false_alarm_windows,
            "joint_log_e_value": math.log(joint),
            "joint_log_e_value_min": math.log(needed(self._policy.false_alarm_windows)),
        }
        return WindowDrift(
            subject=seen.subject,
            detector=shown.detector,
            row=row,
            change=shown.change,
            parameters={**shown.parameters, **decision},
            statistic=shown.comparison.statistic,
            threshold=shown.comparison.threshold,
            p_value=shown.comparison.p_value,
            log_e_value=math.log(seen.e_value),
            bins=shown.bins,
            categories=shown.categories,
            before_counts=shown.before_counts,
            after_counts=shown.after_counts,
            since_time_ms=time_ms,
            since_offset=offset,
            message=f"{seen.subject} differs from what version {self._version} was trained on: {shown.words}",
        )


def _columns_of(watched: Sequence[Column | Joint]) -> dict[str, int]:
    """The columns that these look at, each with its place in the sample."""
    names: dict[str, None] = {}
    for each in watched:
        own = [f"{FEATURE}{name}" for name in each.names] if isinstance(each, Joint) else [each.subject]
        names |= dict.fromkeys(own)
    return {name: place for place, name in enumerate(names)}

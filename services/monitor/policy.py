"""When a change counts: the numbers.

Many detectors look, for ever, at many subjects; one decision is made. Rows are counted, never time, except for the
budget.

- *One test asks.* A retrain is asked for only by the alarm of one detector on one subject, the champion's error against
  the truth. However many features there are, the false requests are those of this one test; what all others find are
  warnings, which stand beside it as evidence and confirm nothing.
- *Looking for ever.* Its default is an e-detector (Shin, Ramdas and Rinaldo 2024): whoever looks at it after every row,
  for ever, has at least ``false_alarm_rows`` rows of a stable model between two false alarms on average. A p-value with
  a correction for the number of looks could not promise that, as the looks have no end. Each partition has a test of
  its own on its own rows, so the rate per row is the same for all of them together.
- *Two tests* are made where an estimated error may ask as well. Then each has twice as many rows, so that the false
  alarms of both together are as many as promised (the union bound; it holds however they depend on one another).

References:
    J. Shin, A. Ramdas, A. Rinaldo: E-detectors: A Nonparametric Framework for Sequential Change Detection. The New
    England Journal of Statistics in Data Science 2 (2), 2024, pp. 229-260.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from millrace.contracts.errors import ProjectError
from millrace.contracts.gates_policy import Slice
from millrace.contracts.monitor_policy import Subject, Watched, Windows
from millrace.contracts.project import Project
from services.monitor.detect import Detector, detector_of
from services.monitor.measure import Task
from services.monitor.rollout import Metric

E_DETECTOR = "e_detector"


@dataclass(frozen=True, slots=True)
class Policy:
    """All numbers that decide what counts.

    Attributes:
        task: of the model, which decides what an error is.
        classes: number of scores of a prediction.
        error_detector: what watches the error, and asks.
        error: its parameters; where it has a rate of false alarms or a tolerance, those below are the defaults.
        features: parameters of ADWIN on each feature; none turns it off.
        watch: further detectors.
        windows: comparison with the training rows; None turns it off.
        false_alarm_rows: labelled rows of a stable model between two false requests, on average, at least.
        tolerance: rise of the error that is not worth a retrain, as a share of the largest loss.
        estimate: what an estimated error may do.
        recurring: whether an alarm looks for an earlier version whose training rows look like the rows now.
        label_delay_ms: how long after its event a label normally becomes known.
        slices: parts of the rows.
        cool_down_rows: labelled rows between two alarms; events between two warnings about one feature.
        warm_up_rows: labelled rows of a new version before its first alarm.
        metrics_window_rows: labelled rows in a window of metrics.
        calibration_bins: bins of the calibration error.
        horizon_rows: newer predictions after which one no longer waits for its label.
        save_every_rows: rows between two save points.
        persisting_margin: how far above its level before the drift the error may stay, in the unit of the error (a
            share for classification); None turns the rule off. In simulations of the electricity loop margins from 0
            to 0.03 reach 88.8 to 89.5 % accuracy, 0.04 gives 89.0 % and no rule 88.3 %.
        persisting_limit: how often the rule may speak after one drift.
        persisting_new_version: whether the rule also judges a version that was deployed since.
        gate_metric: what the variants of a rollout are compared by.
        evidence_rows: labelled events between two measurements of a rollout.
        guard_rows: events that a variant scored between two measurements of a rollout, with labels or without.
    """

    task: Task = "classification"
    classes: int = 0
    error_detector: str = "e_detector"
    error: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, float] = field(default_factory=dict)
    watch: tuple[Watched, ...] = ()
    windows: Windows | None = None
    false_alarm_rows: float = 4_000_000
    tolerance: float = 0.01
    estimate: Literal["off", "warn", "ask"] = "warn"
    recurring: bool = True
    label_delay_ms: int = 0
    slices: tuple[Slice, ...] = ()
    cool_down_rows: int = 1000
    warm_up_rows: int = 200
    metrics_window_rows: int = 500
    calibration_bins: int = 10
    horizon_rows: int = 200_000
    save_every_rows: int = 50_000
    persisting_margin: float | None = 0.03
    persisting_limit: int = 3
    persisting_new_version: bool = True
    gate_metric: Metric = "accuracy"
    evidence_rows: int = 25
    guard_rows: int = 50

    @classmethod
    def of(cls, project: Project) -> "Policy":
        """The policy of a model project.

        Raises:
            ProjectError: a detector does not know a parameter, or is not made for what it is to watch.
        """
        monitors, persisting, decision = project.monitors, project.monitors.persisting, project.monitors.decision
        policy = cls(
            task=project.label.task,
            classes=len(project.label.classes),
            error_detector=monitors.error.detector,
            error=dict(monitors.error.parameters),
            features=monitors.features.model_dump() if monitors.features else {},
            watch=monitors.watch,
            windows=monitors.windows,
            false_alarm_rows=decision.false_alarm_rows,
            tolerance=decision.tolerance,
            estimate=decision.estimate,
            recurring=decision.recurring,
            label_delay_ms=round(project.label.delay_s * 1000),
            slices=monitors.slices or project.gates.slices,
            cool_down_rows=monitors.cool_down_rows,
            warm_up_rows=monitors.warm_up_rows,
            metrics_window_rows=monitors.metrics_window_rows,
            calibration_bins=project.gates.calibration_bins,
            horizon_rows=monitors.label_wait_rows,
            save_every_rows=monitors.save_every_rows,
            persisting_margin=persisting.margin if persisting else None,
            persisting_limit=persisting.limit if persisting else 0,
            persisting_new_version=persisting.new_version if persisting else False,
            gate_metric=project.gates.metric,
            evidence_rows=project.rollout.evidence_rows,
            guard_rows=project.rollout.guardrails.rows_min,
        )
        policy.check()
        return policy

    def error_watcher(self) -> Detector:
        """A new detector of the error."""
        return detector_of(self.error_detector, {**self._defaults(self.error_detector), **self.error})

    def estimate_watcher(self) -> Detector:
        """A new detector of the estimated error."""
        return detector_of(E_DETECTOR, self._defaults(E_DETECTOR))

    def feature_watcher(self) -> Detector:
        """A new detector of one feature, of ``monitors.features``."""
        return detector_of("adwin", self.features)

    def watcher(self, watched: Watched) -> Detector:
        """A new detector of ``monitors.watch``."""
        return detector_of(watched.detector, {**self._defaults(watched.detector), **watched.parameters})

    def _defaults(self, detector: str) -> dict[str, float]:
        if detector != E_DETECTOR:
            return {}
        tests = 2 if self.estimate == "ask" else 1
        return {"false_alarm_rows": tests * self.false_alarm_rows, "tolerance": self.tolerance}

    def check(self) -> None:
        """Refuse detectors that cannot watch what they are told to.

        Raises:
            ProjectError: names the detector, what is wrong and the way out.
        """
        self._fits("monitors.error", self.error_watcher, "error")
        for place, watched in enumerate(self.watch):
            self._fits(f"monitors.watch[{place}]", partial(self.watcher, watched), watched.on)

    def _fits(self, where: str, made: Callable[[], Detector], subject: Subject) -> None:
        try:
            takes = made().takes
        except ValueError as error:
            raise ProjectError(f"model.yaml: {where}: {error}") from error
        bits = subject == "error" and self.task == "classification"
        shares = bits or subject in {"error", "scores"}
        if (takes == "bits" and not bits) or (takes == "shares" and not shares):
            wanted = "only 0 and 1, errors of classes" if takes == "bits" else "numbers from 0 to 1, errors or scores"
            msg = f"model.yaml: {where}: {made().name} takes {wanted}, not {subject}; adwin takes any number"
            raise ProjectError(msg)

"""What model.yaml may say under ``monitors:``: what is watched, how, and what follows from it."""

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from millrace.contracts.gates_policy import Slice
from millrace.contracts.sections import Section

SequentialDetector = Literal[
    "e_detector", "adwin", "page_hinkley", "kswin", "ddm", "eddm", "fhddm", "hddm_a", "hddm_w"
]  # fmt: skip
ErrorDetectorName = Literal["e_detector", "adwin", "page_hinkley", "ddm", "eddm", "fhddm", "hddm_a", "hddm_w"]
WindowDetector = Literal[
    "psi", "ks", "wasserstein", "chi_square", "jensen_shannon", "new_categories", "missing_rate", "domain_classifier"
]  # fmt: skip
Subject = Literal["features", "predictions", "scores", "error"]


class ErrorDetector(Section):
    """The detector whose alarm asks for a retrain: it watches the error of the champion against the truth.

    ``parameters`` are those of the detector, see ``services/monitor/detect/``. ``{delta: 0.002}`` alone is short for
    ``{detector: adwin, parameters: {delta: 0.002}}``.
    """

    detector: ErrorDetectorName = "e_detector"
    parameters: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _finite(self) -> "ErrorDetector":
        if not all(map(math.isfinite, self.parameters.values())):
            msg = f"monitors.error: the parameters must be finite numbers, got {self.parameters}"
            raise ValueError(msg)
        return self

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        short = {"delta", "clock", "min_window_length", "grace_period"}
        if isinstance(value, dict) and value and set(value) <= short:
            return {"detector": "adwin", "parameters": value}
        return value


class Adwin(Section):
    """Parameters of river's ADWIN; see ``services/monitor/detect/adwin.py``."""

    delta: float = Field(gt=0, lt=1)
    clock: int = Field(32, ge=1)
    min_window_length: int = Field(5, ge=1)
    grace_period: int = Field(10, ge=1)


class Watched(Section):
    """One more detector on some subjects; what it finds is a warning and evidence, never by itself a request.

    ``features`` names some of them where ``on: features``; none means all. ``slices`` says whether it also watches
    each part of ``monitors.slices`` by itself.
    """

    on: Subject
    detector: SequentialDetector
    features: tuple[str, ...] = ()
    slices: bool = False
    parameters: dict[str, float] = Field(default_factory=dict)


class Windows(Section):
    """The comparison of the rows in windows of event time with the rows that the champion was trained on.

    A window ends when ``window_s`` of event time have passed and it has at least ``rows_min`` rows, or when it has
    ``rows_max``. Of one with more than 4,096 a part is compared, spread over the window. ``detectors`` names those that
    judge it, each in a file of its own in ``services/monitor/detect/``.
    ``false_alarm_windows`` is how many windows pass on average, at least, between two false warnings of one model,
    over all its features together.
    """

    detectors: tuple[WindowDetector, ...] = (
        "ks", "chi_square", "new_categories", "missing_rate", "domain_classifier",
    )  # fmt: skip
    window_s: float = Field(86_400, gt=0)
    rows_min: int = Field(200, ge=20)
    rows_max: int = Field(50_000, ge=50)
    false_alarm_windows: float = Field(10_000, gt=1)

    @model_validator(mode="after")
    def _rows_in_order(self) -> "Windows":
        if self.rows_min > self.rows_max:
            msg = f"windows.rows_min {self.rows_min} is more than rows_max {self.rows_max}; make it smaller"
            raise ValueError(msg)
        return self


class Decision(Section):
    """From many detectors to one decision: when the monitor asks for a retrain.

    A request needs confirmation by the loss on labels. ``false_alarm_rows`` is how many labelled rows of a stable model
    pass on average, at least, between two false requests (the average run length to a false alarm). ``tolerance`` is a
    rise of the error that is not worth a retrain, as a share of the largest loss (classification: of the rows).
    ``estimate`` says what an error that is only expected from the scores may do while labels are late: nothing, a
    warning, or a request. ``requests_per_day`` is a budget, in event time. ``recurring`` offers an earlier version back
    whose training rows look like the rows now.
    """

    false_alarm_rows: float = Field(4_000_000, ge=1_000)
    tolerance: float = Field(0.01, ge=0, lt=1)
    estimate: Literal["off", "warn", "ask"] = "warn"
    requests_per_day: int = Field(4, ge=1)
    recurring: bool = True


class Persisting(Section):
    """The rule for an error that stays high after an alarm: it raises another one, once cool-down and warm-up are over.

    ``margin`` is how far above its level before the drift the error may stay, in the unit of the error (a share for
    classification). ``limit`` is how often the rule may speak after one drift. ``new_version`` says whether it also
    judges a version that was deployed since.
    """

    margin: float = Field(0.03, ge=0)
    limit: int = Field(3, ge=0)
    new_version: bool = True


class Monitors(Section):
    """What the monitor watches, and how often it may ask for a retrain.

    ``error`` is the detector that asks; ``features`` are parameters of ADWIN on every feature, null is without: it
    judges each value by itself, for a third of a microsecond each. ``watch`` adds detectors, ``windows`` compares with
    the training rows, null turns that off. ``cool_down_rows`` labelled rows must pass between two alarms of one
    subject; ``warm_up_rows`` after a new version began to serve. ``persisting`` of null turns that rule off. ``open_s``
    is how long a request that nobody answers keeps others back (wall time). ``slices`` are parts of the rows that are
    measured by themselves; none means those of ``gates.slices``. A prediction waits for its label until
    ``label_wait_rows`` newer ones have come in its partition. The state is saved every ``save_every_rows`` rows, so
    that a restart reads no more than that again.
    """

    error: ErrorDetector = ErrorDetector()
    features: Adwin | None = None
    watch: tuple[Watched, ...] = ()
    windows: Windows | None = Windows()
    decision: Decision = Decision()
    slices: tuple[Slice, ...] = ()
    cool_down_rows: int = Field(1000, ge=0)
    warm_up_rows: int = Field(200, ge=0)
    persisting: Persisting | None = Persisting()
    open_s: float = Field(86_400, gt=0)
    metrics_window_rows: int = Field(500, ge=10, le=20_000)
    label_wait_rows: int = Field(200_000, ge=1_000)
    save_every_rows: int = Field(50_000, ge=100)

    @field_validator("watch")
    @classmethod
    def _parameters_are_finite(cls, value: tuple[Watched, ...]) -> tuple[Watched, ...]:
        wrong = [watched.detector for watched in value if not all(map(math.isfinite, watched.parameters.values()))]
        if wrong:
            msg = f"monitors.watch: the parameters of {wrong} must be finite numbers"
            raise ValueError(msg)
        return value

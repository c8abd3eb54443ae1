"""The model project: the one folder that a model owner writes, read and checked as a whole.

``model.yaml`` names the stream, the fields of the event, the label, the features and how to train, judge and watch the
model; ``event.avsc`` is the event's schema; ``pipeline.py`` builds the scikit-learn pipeline. Whatever is wrong with
them is found here, before anything runs, as a ``ProjectError`` that names the file, the value seen and the way out.
"""

import hashlib
import json
import math
import re
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from millrace.contracts.data_policy import DataPolicy
from millrace.contracts.errors import ProjectError
from millrace.contracts.expectations import NUMBER_TYPES, TEXT_TYPES, Expectation, NullShare, check_fields
from millrace.contracts.feature_spec import FeatureSpec, FieldKind, Function, feature_set_id, fields_of
from millrace.contracts.personal import Personal, personal_of

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=60)]
_TO_MS = {
    None: 1.0,
    "timestamp-millis": 1.0,
    "timestamp-micros": 1e-3,
    "timestamp-nanos": 1e-6,
    "local-timestamp-millis": 1.0,
    "local-timestamp-micros": 1e-3,
    "local-timestamp-nanos": 1e-6,
}
_RESERVED = re.compile(
    r"offset|is_label|event_id|time_ms|version|value|label|score_\d+"
)  # columns of contracts/frames.py
_NUMERIC = {"int", "long", "float", "double", "boolean"}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EventFields(_Section):
    """Which fields of the event are its id, its entity and its time."""

    schema_file: str = Field("event.avsc", alias="schema")
    id: str
    entity: str
    time: str


class Label(_Section):
    """The truth that arrives later.

    ``delay_s`` is how long after its event a label normally becomes known (event time). ``wait_ms`` is how long ingest
    holds a later event of the same entity back for a label that is due but has not arrived (wall time).
    """

    task: Literal["classification", "regression"] = "classification"
    classes: tuple[str, ...] = ()
    delay_s: float = Field(ge=0)
    wait_ms: int = Field(1000, ge=0, le=600_000)

    @field_validator("classes", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any) -> Any:
        if isinstance(value, list) and any(isinstance(one, bool) for one in value):
            msg = f'YAML reads no and yes as truth values, got {value}; write them in quotes: ["no", "yes"]'
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _classes_fit_the_task(self) -> "Label":
        if self.task == "classification" and len(self.classes) < 2:
            msg = f"classification needs at least two classes, got {list(self.classes)}; write classes: ['no', 'yes']"
            raise ValueError(msg)
        if self.task == "regression" and self.classes:
            msg = f"regression has no classes, got {list(self.classes)}; remove them"
            raise ValueError(msg)
        return self

    def to_number(self, label: float | str) -> float:
        """The label as a number: a class's name or index becomes its index. ValueError if it is none of them."""
        if self.task == "regression":
            number = float(label)
            if not math.isfinite(number):
                msg = f"label {label!r} is no finite number"
                raise ValueError(msg)
            return number
        if isinstance(label, str) and label in self.classes:
            return float(self.classes.index(label))
        index = float(label) if not isinstance(label, str) else float("nan")
        if index in range(len(self.classes)):
            return index
        msg = f"label {label!r} is neither one of {list(self.classes)} nor an index of them"
        raise ValueError(msg)


class Dedupe(_Section):
    """How many of the newest event ids of a partition are remembered, to recognise duplicates and join labels."""

    events: int = Field(200_000, ge=1_000)


class Training(_Section):
    """When and on what a model is trained.

    Rows are labelled samples; the newest ``holdout_rows`` are never trained on, the candidate is judged on them.
    """

    pipeline: str = "pipeline.py:build"
    first_rows: int = Field(ge=50)
    window_rows: int = Field(ge=50)
    holdout_rows: int = Field(ge=20)
    snapshot_every_rows: int = Field(1000, ge=10)
    seed: int = 0
    timeout_s: float = Field(300.0, gt=0)


class Gates(_Section):
    """What a candidate must reach. ``metric`` is judged on the run's hold-out rows, the champion's on the same ones."""

    metric: Literal["accuracy", "log_loss", "mae", "rmse"] = "accuracy"
    first: float
    margin: float = Field(0.0, ge=0)
    parity_share: float = Field(0.001, ge=0, le=1)

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric == "accuracy"

    def gain(self, candidate: float, other: float) -> float:
        """By how much the candidate is better than the other; negative if it is worse."""
        return candidate - other if self.higher_is_better else other - candidate


class Adwin(_Section):
    """Parameters of river's ADWIN; see ``services/monitor/detect/adwin.py``."""

    delta: float = Field(gt=0, lt=1)
    clock: int = Field(32, ge=1)
    min_window_length: int = Field(5, ge=1)
    grace_period: int = Field(10, ge=1)


class Persisting(_Section):
    """The rule for an error that stays high after an alarm: it raises another one, once cool-down and warm-up are over.

    ``margin`` is how far above its level before the drift the error may stay, in the unit of the error (a share for
    classification). ``limit`` is how often the rule may speak after one drift. ``new_version`` says whether it also
    judges a version that was deployed since.
    """

    margin: float = Field(0.03, ge=0)
    limit: int = Field(3, ge=0)
    new_version: bool = True


class Monitors(_Section):
    """What the monitor watches, and how often it may ask for a retrain.

    ``cool_down_rows`` labelled rows must pass between two alarms of one subject; ``warm_up_rows`` after a new version
    began to serve. ``persisting`` of null turns that rule off. ``open_s`` is how long a request that nobody answers
    keeps others back (wall time).
    """

    error: Adwin = Adwin(delta=0.002)
    features: Adwin = Adwin(delta=1e-6)
    cool_down_rows: int = Field(1000, ge=0)
    warm_up_rows: int = Field(200, ge=0)
    persisting: Persisting | None = Persisting()
    open_s: float = Field(86_400, gt=0)
    metrics_window_rows: int = Field(500, ge=10)


class Rollout(_Section):
    """How a new version takes over."""

    strategy: Literal["immediate"] = "immediate"


class Dataset(_Section):
    """A file with history, for ``millrace publish`` and ``millrace demo``: one row is one event, then its label.

    Columns named like fields of the event are taken as they are. What the file lacks is made: an id from ``id_prefix``
    and the row's number, one ``entity`` for all rows, and a time from ``start`` and ``every_s``. A label follows its
    event by ``label.delay_s``.
    """

    file: str
    label_column: str
    id_prefix: str = "row-"
    entity: str | None = None
    start: datetime | None = None
    every_s: float | None = Field(None, gt=0)


class Project(_Section):
    """A checked model project."""

    folder: Path
    event_schema: dict[str, Any]
    description: str = ""
    stream: Name
    model: Name
    partitions: int = Field(1, ge=1, le=1024)
    event: EventFields
    label: Label
    expectations: tuple[Expectation, ...] = ()
    dedupe: Dedupe = Dedupe()
    data: DataPolicy = DataPolicy()
    features: tuple[FeatureSpec, ...] = Field(min_length=1)
    training: Training
    gates: Gates
    monitors: Monitors = Monitors()
    rollout: Rollout = Rollout()
    dataset: Dataset | None = None

    @model_validator(mode="after")
    def _fields_exist(self) -> "Project":
        """Every field that is named is in the event's schema, and numeric where numbers are computed from it."""
        fields = {field["name"]: _base_type(field["type"]) for field in self.event_schema.get("fields", [])}
        if self.event.time in fields:
            self.time_to_ms  # noqa: B018  # refused here, not at the first event
        named = [("event.id", self.event.id), ("event.entity", self.event.entity), ("event.time", self.event.time)]
        needed = [(f"features: {name}", field, kind) for name, field, kind in self.feature_needs]
        for where, field in [*named, *((where, field) for where, field, _ in needed)]:
            if field not in fields:
                msg = (
                    f"{where} names the field {field!r}, which {self.event.schema_file} lacks; it has {sorted(fields)}"
                )
                raise ValueError(msg)
        check_fields(self.expectations, fields, self.event.schema_file)
        self._check_null_shares(fields)
        fitting_types = {"number": NUMBER_TYPES, "text": TEXT_TYPES}
        for where, field, kind in needed:
            if fields[field] not in fitting_types[kind]:
                msg = f"{where} needs a {kind}, but {field!r} is {fields[field]!r} in {self.event.schema_file}"
                raise ValueError(msg)
        self.personal  # noqa: B018  # refused here too
        names = [spec.name for spec in self.features]
        if len(set(names)) != len(names):
            msg = f"feature names must differ, got {sorted({name for name in names if names.count(name) > 1})} twice"
            raise ValueError(msg)
        reserved = sorted(name for name in names if _RESERVED.fullmatch(name))
        if reserved:
            msg = f"features may not be named {reserved}: the monitor's frames use these names; choose others"
            raise ValueError(msg)
        fitting = {"classification": ("accuracy", "log_loss"), "regression": ("mae", "rmse")}[self.label.task]
        if self.gates.metric not in fitting:
            msg = f"gates.metric is {self.gates.metric!r}, for {self.label.task} use one of {list(fitting)}"
            raise ValueError(msg)
        if self.training.holdout_rows * 2 > min(self.training.first_rows, self.training.window_rows):
            msg = f"training.holdout_rows {self.training.holdout_rows} leaves too little to train on; use at most half"
            raise ValueError(msg)
        return self

    def _check_null_shares(self, types: dict[str, str]) -> None:
        """Windows are compared by their numbers and texts; what an event cannot lack is none of them."""
        judged = {field for field, kind in types.items() if kind in NUMBER_TYPES | TEXT_TYPES}
        judged -= {self.event.id, self.event.entity, self.event.time}
        for rule in self.expectations:
            if isinstance(rule, NullShare) and rule.field not in judged:
                msg = f"expectations: null_share is for one of {sorted(judged)}, not for {rule.field!r}"
                raise ValueError(msg)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(spec.name for spec in self.features)

    @cached_property
    def feature_needs(self) -> tuple[tuple[str, str, FieldKind], ...]:
        """For each feature the fields of the event that it looks at, and what each must be."""
        found: list[tuple[str, str, FieldKind]] = []
        before: set[str] = set()
        for spec in self.features:
            found += [(spec.name, field, kind) for field, kind in fields_of(spec, before)]
            before.add(spec.name)
        return tuple(found)

    @cached_property
    def feature_fields(self) -> tuple[str, ...]:
        """Numeric fields of the event that features are computed from, sorted."""
        return tuple(sorted({field for _, field, kind in self.feature_needs if kind == "number"}))

    @cached_property
    def personal(self) -> Personal | None:
        """The fields that event.avsc marks as personal; None if it marks none."""
        needs = [need for rule in self.expectations for need in rule.needs.items()]
        needs += [(field, kind) for _, field, kind in self.feature_needs]
        return personal_of(
            self.event_schema,
            id=self.event.id,
            entity=self.event.entity,
            time=self.event.time,
            numeric=[name for name, kind in needs if kind == "number"],
            categories=[name for name, kind in needs if kind == "text"],
        )

    @cached_property
    def feature_set(self) -> str:
        """Content hash of the feature definitions, the owner's own functions included."""
        files = sorted({spec.function.partition(":")[0] for spec in self.features if isinstance(spec, Function)})
        code = b"\0".join(file.encode() + b"\0" + (self.folder / file).read_bytes() for file in files)
        return feature_set_id(self.features, code)

    @cached_property
    def time_to_ms(self) -> float:
        """Factor that turns the event's time field into milliseconds."""
        field = next(field for field in self.event_schema["fields"] if field["name"] == self.event.time)
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        logical = next((kind.get("logicalType") for kind in kinds if isinstance(kind, dict)), None)
        base = _base_type(field["type"])
        if logical not in _TO_MS or base not in _NUMERIC - {"boolean"}:
            known = sorted(name for name in _TO_MS if name)
            seen = f"{base} {logical or ''}".strip()
            msg = f"event.time: {self.event.time!r} is {seen} in {self.event.schema_file}; use long with one of {known}"
            raise ValueError(msg)
        return _TO_MS[logical]

    @cached_property
    def config_hash(self) -> str:
        """Content hash of the whole of model.yaml and of the event's schema."""
        config = self.model_dump(mode="json", exclude={"folder"})
        return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def code_hash(self) -> str:
        """Content hash of all that decides what a training run does: the pipeline's file and the configuration."""
        pipeline = self.folder / self.training.pipeline.partition(":")[0]
        config = self.model_dump(mode="json", include={"label", "features", "training", "gates"})
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        digest.update(pipeline.read_bytes())
        return digest.hexdigest()[:16]


def _base_type(kind: Any) -> str:
    """The name of an Avro type, null and logical type aside."""
    if isinstance(kind, list):
        kind = next((part for part in kind if part != "null"), "null")
    return str(kind["type"]) if isinstance(kind, dict) else str(kind)


def load_project(folder: Path) -> Project:
    """Read and check a model project.

    Raises:
        ProjectError: a file is missing or unreadable, or a value in it is not accepted.
    """
    config = _read(folder / "model.yaml", yaml.safe_load, yaml.YAMLError)
    if not isinstance(config, dict):
        raise ProjectError(
            f"{folder / 'model.yaml'} holds {type(config).__name__}, a mapping is needed: see millrace init"
        )
    schema_file = (config.get("event") or {}).get("schema", "event.avsc")
    schema = _read(folder / schema_file, json.loads, json.JSONDecodeError)
    try:
        project = Project.model_validate({**config, "folder": folder.resolve(), "event_schema": schema})
    except ValidationError as error:
        raise ProjectError(_explain(folder / "model.yaml", error)) from error
    pipeline = folder / project.training.pipeline.partition(":")[0]
    for spec in project.features:
        if isinstance(spec, Function) and not (folder / spec.function.partition(":")[0]).is_file():
            raise ProjectError(
                f"{folder / spec.function} is missing: the feature {spec.name} names it (file.py:function)"
            )
    if not pipeline.is_file():
        raise ProjectError(
            f"{pipeline} is missing: training.pipeline is {project.training.pipeline!r} (file.py:function)"
        )
    return project


def _read(path: Path, parse: Any, error_type: type[Exception]) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProjectError(
            f"{path} cannot be read: {error.strerror}; a model project has model.yaml and event.avsc"
        ) from error
    except error_type as error:
        raise ProjectError(f"{path} cannot be parsed: {error}") from error


def _explain(path: Path, error: ValidationError) -> str:
    """One line for each thing that is wrong: where, what, and the value seen."""
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "the project"
        seen = item["input"] if isinstance(item["input"], str | int | float | bool) else type(item["input"]).__name__
        lines.append(f"  {where}: {item['msg']} (seen: {seen!r})")
    return f"{path} is not accepted:\n" + "\n".join(lines)

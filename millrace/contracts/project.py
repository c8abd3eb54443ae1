"""The model project: the one folder that a model owner writes, read and checked as a whole.

``model.yaml`` names the stream, the fields of the event, the label, the features and how to train, judge and watch the
model; ``event.avsc`` is the event's schema; ``pipeline.py`` builds the scikit-learn pipeline. Whatever is wrong with
them is found here, before anything runs, as a ``ProjectError`` that names the file, the value seen and the way out.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from millrace.contracts.data_policy import DataPolicy
from millrace.contracts.errors import ProjectError
from millrace.contracts.expectations import NUMBER_TYPES, TEXT_TYPES, Expectation, NullShare, check_fields, plain_types
from millrace.contracts.feature_spec import FeatureSpec, FieldKind, Function, feature_set_id, fields_of
from millrace.contracts.gates_policy import Gates
from millrace.contracts.monitor_policy import Monitors
from millrace.contracts.personal import Personal, personal_of
from millrace.contracts.rollout_policy import Rollout, Spaces
from millrace.contracts.sections import Dataset, Dedupe, EventFields, Label, Section
from millrace.contracts.training_policy import Training

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
    r"offset|is_label|event_id|time_ms|version|value|label|score_\d+|other_(version|value|score_\d+)"
)  # columns of contracts/frames.py


class Project(Section):
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
    spaces: Spaces = Spaces()
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
        self._check_null_shares()
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
        self._check_gates(fields)
        return self

    def _check_gates(self, fields: Mapping[str, str]) -> None:
        """What the gates name is there."""
        strange = [part.feature for part in self.gates.slices if part.feature not in self.feature_names]
        if strange:
            msg = f"gates.slices names {strange}, the features are {list(self.feature_names)}"
            raise ValueError(msg)
        rule = self.gates.fairness
        if rule is None:
            return
        if rule.field not in fields:
            msg = f"gates.fairness names {rule.field!r}, which {self.event.schema_file} lacks; it has {sorted(fields)}"
            raise ValueError(msg)
        if (rule.metric == "mean_error_difference") != (self.label.task == "regression"):
            msg = f"gates.fairness.metric is {rule.metric!r}; mean_error_difference is for regression, the others not"
            raise ValueError(msg)
        if rule.positive is not None and rule.positive not in self.label.classes:
            msg = f"gates.fairness.positive is {rule.positive!r}, the classes are {list(self.label.classes)}"
            raise ValueError(msg)

    def _check_null_shares(self) -> None:
        """Windows are compared by their numbers and texts; what an event cannot lack is none of them."""
        types = plain_types(self.event_schema)
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
    def personal_fields(self) -> frozenset[str]:
        """Their names."""
        return frozenset(self.personal.fields if self.personal else ())

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
        if logical not in _TO_MS or base not in NUMBER_TYPES - {"boolean"}:
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

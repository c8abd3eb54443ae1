"""A model project that is wrong is refused with the place, the value seen and the way out."""

import json

import pytest
import yaml

from millrace.contracts.errors import ProjectError
from millrace.contracts.project import load_project
from tests.support import EVENT, MODEL, PIPELINE, tiny_project

WRONG = {
    "an unknown key": ({"label": {"clases": ["a", "b"]}}, r"label\.clases: Extra inputs"),
    "one class": ({"label": {"classes": ["only"]}}, "at least two classes, got \\['only'\\]"),
    "classes for a regression": ({"label": {"task": "regression"}}, "regression has no classes"),
    "a stream's name": ({"stream": "My Stream"}, r"stream: .*seen: 'My Stream'"),
    "a field that the event lacks": (
        {"event": {"id": "uid"}},
        r"event.id names the field 'uid'.*'at', 'id', 'who', 'x'",
    ),
    "a number from text": (
        {"features": [{"name": "w", "kind": "value", "field": "who"}]},
        "features: w needs a number, but 'who' is 'string'",
    ),
    "an unknown kind": ({"features": [{"name": "w", "kind": "median", "field": "x"}]}, "features.*'median'"),
    "a name twice": ({"features": [{"name": "x", "kind": "value", "field": "x"}] * 2}, r"\['x'\] twice"),
    "a reserved name": (
        {"features": [{"name": "label", "kind": "value", "field": "x"}]},
        r"\['label'\].*choose others",
    ),
    "no features": ({"features": []}, "features: .*at least 1"),
    "a hold-out too large": ({"training": {"holdout_rows": 60}}, "holdout_rows 60 leaves too little"),
    "a metric of the other task": ({"gates": {"metric": "rmse", "first": 1}}, r"'rmse', for classification use one of"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_project_is_refused_in_words(tmp_path, name):
    """Each kind of mistake names where it is and what was seen."""
    changes, message = WRONG[name]
    with pytest.raises(ProjectError, match=message):
        tiny_project(tmp_path, **changes)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.yaml", None, "model.yaml cannot be read: No such file"),
        ("model.yaml", "a: [", "model.yaml cannot be parsed"),
        ("model.yaml", "just text", "holds str, a mapping is needed"),
        ("event.avsc", "{", "event.avsc cannot be parsed"),
        ("pipeline.py", None, "pipeline.py is missing: training.pipeline is 'pipeline.py:build'"),
    ],
)
def test_a_file_that_is_missing_or_broken_is_named(tmp_path, name, content, message):
    """Every file of the project is asked for by name."""
    files = {
        "model.yaml": yaml.safe_dump(MODEL),
        "event.avsc": json.dumps(EVENT),
        "pipeline.py": PIPELINE,
        name: content,
    }
    for file, text in files.items():
        if text is not None:
            (tmp_path / file).write_text(text)
    with pytest.raises(ProjectError, match=message):
        load_project(tmp_path)


@pytest.mark.parametrize(("label", "expected"), [("no", 0.0), ("yes", 1.0), (1, 1.0), (0.0, 0.0)])
def test_a_label_is_a_class_or_its_index(tmp_path, label, expected):
    """Names and indices of classes mean the same."""
    assert expected == tiny_project(tmp_path).label.to_number(label)


@pytest.mark.parametrize("label", ["maybe", 2, -1, 0.5, float("nan")])
def test_any_other_label_is_refused(tmp_path, label):
    """What is no class is named."""
    with pytest.raises(ValueError, match="neither one of"):
        tiny_project(tmp_path).label.to_number(label)


def test_the_hashes_follow_what_matters(tmp_path):
    """The code hash changes with the pipeline and the training section, not with a description."""
    plain = tiny_project(tmp_path / "a")
    described = tiny_project(tmp_path / "b", description="words")
    seeded = tiny_project(tmp_path / "c", training={"seed": 1})
    (tmp_path / "a" / "pipeline.py").write_text(PIPELINE + "# changed\n")

    assert described.code_hash == tiny_project(tmp_path / "d").code_hash
    assert len({described.code_hash, seeded.code_hash, load_project(tmp_path / "a").code_hash}) == 3
    assert plain.feature_set == seeded.feature_set


def test_the_unit_of_time_is_the_schemas(tmp_path):
    """timestamp-micros is turned into milliseconds."""
    tiny_project(tmp_path)
    schema = json.loads((tmp_path / "event.avsc").read_text())
    schema["fields"][2]["type"]["logicalType"] = "timestamp-micros"
    (tmp_path / "event.avsc").write_text(json.dumps(schema))

    assert load_project(tmp_path).time_to_ms == 0.001


@pytest.mark.parametrize("label", [float("nan"), float("inf"), "nan"])
def test_a_regression_label_is_finite(tmp_path, label):
    """What no model can learn from is refused at the door."""
    project = tiny_project(tmp_path, label={"task": "regression", "classes": []}, gates={"metric": "mae", "first": 1})
    with pytest.raises(ValueError, match="no finite number"):
        project.label.to_number(label)


@pytest.mark.parametrize("kind", [{"type": "int", "logicalType": "date"}, "string", "boolean"])
def test_a_time_that_is_none_is_refused_before_anything_runs(tmp_path, kind):
    """The message names the field, what it is, and what it may be."""
    tiny_project(tmp_path)
    schema = json.loads((tmp_path / "event.avsc").read_text())
    schema["fields"][2]["type"] = kind
    (tmp_path / "event.avsc").write_text(json.dumps(schema))
    with pytest.raises(ProjectError, match=r"event.time: 'at' is .* use long with one of .*timestamp-millis"):
        load_project(tmp_path)


@pytest.mark.parametrize("field", ["id", "who", "at"])
def test_a_null_share_is_for_what_an_event_may_lack(tmp_path, field):
    """Nothing is compared of what names an event: said here, not by ingest at its start."""
    with pytest.raises(ProjectError, match=rf"null_share is for one of \['x'\], not for '{field}'"):
        tiny_project(tmp_path, expectations=[{"kind": "null_share", "field": field, "most": 0.1}])


def test_a_null_share_is_for_a_field_of_one_type(tmp_path):
    """Of a field that may be a number or a text nothing is compared either."""
    tiny_project(tmp_path)
    schema = {**EVENT, "fields": [*EVENT["fields"], {"name": "y", "type": ["null", "long", "string"], "default": None}]}
    (tmp_path / "event.avsc").write_text(json.dumps(schema))
    rules = [{"kind": "null_share", "field": "y", "most": 0.1}]
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({**MODEL, "expectations": rules}))

    with pytest.raises(ProjectError, match=r"null_share is for one of \['x'\], not for 'y'"):
        load_project(tmp_path)


def test_classes_that_yaml_reads_as_truth_values_are_explained(tmp_path):
    """No and yes are the likeliest names of all."""
    with pytest.raises(ProjectError, match="YAML reads no and yes as truth values"):
        tiny_project(tmp_path, label={"classes": [False, True]})

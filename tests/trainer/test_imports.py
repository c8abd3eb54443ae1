"""A model from elsewhere: its file and its sample are judged, nothing is fitted."""

import json

import numpy as np
import onnx
import pytest
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from millrace.contracts.golden import Golden
from services.trainer.child import run_task
from services.trainer.fitter import fit_inline
from services.trainer.imports import SAMPLE_ROWS_MIN, read_sample
from services.trainer.train.task import FitError
from tests.trainer.mill import Mill, numbers, project_with, task_of

BAD_PIPELINE = "raise RuntimeError('an import must not run this')\n"


def elsewhere(width=3, names=None, **options):
    """A model that somebody else has made, as an ONNX file."""
    data = numbers(300, width, seed=1)
    y = data.y if names is None else np.array(names)[data.y.astype(int)]
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(data.x, y)
    options = {id(model): {"zipmap": False, **options}}
    types = [("X", FloatTensorType([None, width]))]
    return convert_sklearn(model, initial_types=types, options=options, target_opset=17).SerializeToString()


def lines(rows, width=3, seed=2):
    """A sample of records, as JSON lines."""
    data = numbers(rows, width, seed)
    records = [
        {"features": [None if np.isnan(one) else float(one) for one in x], "label": ["no", "yes"][int(y)]}
        for x, y in zip(data.x, data.y, strict=True)
    ]
    return "\n".join(json.dumps(record) for record in records).encode()


@pytest.fixture
async def mill(tmp_path):
    """A project whose own pipeline must not be run."""
    return await Mill.create(project_with(tmp_path / "project", BAD_PIPELINE), tmp_path)


async def judged(mill, file, sample=None):
    """The end of the run that judges the file."""
    digest = mill.artifacts.put(file)
    changes = {"import_sha256": digest, "sample_sha256": None if sample is None else mill.artifacts.put(sample)}
    await mill.ask("mine", reason="OPERATOR", message="bring our old model", **changes)
    async with mill.trainer(fit_inline):
        return (await mill.until_runs(2))[1]


async def test_a_file_is_judged_on_the_newest_rows_and_on_its_sample(mill):
    """Same bytes, metrics of both, golden records of its own answers; the run says where it comes from, and why."""
    await mill.grow(120)
    file = elsewhere()
    ended = await judged(mill, file, lines(60))
    assert ("SUCCEEDED", "imported", "imported", "bring our old model") == (
        ended["status"], ended["source"], ended["family"], ended["because"],
    )  # fmt: skip
    assert file == mill.artifacts.get(ended["artifact_sha256"])
    assert (20, 60) == (ended["metrics"]["rows"], ended["metrics"]["sample_rows"])
    assert ended["metrics"]["sample_accuracy"] > 0.7
    passed = {check["name"]: check["passed"] for check in ended["checks"]}
    assert (True, True, False) == (passed["sample-reaches-gate"], passed["finite-scores"], "onnx-parity" in passed)
    golden = Golden.from_bytes(mill.artifacts.get(ended["golden_sha256"]))
    assert 20 == len(golden.values)


async def test_without_rows_the_sample_is_the_hold_out(mill):
    """An empty log is enough; the run names no ranges, and as many hold-out rows as the sample has."""
    ended = await judged(mill, elsewhere(), lines(SAMPLE_ROWS_MIN))
    assert ("SUCCEEDED", [], 0, 50) == (ended["status"], ended["ranges"], ended["train_rows"], ended["holdout_rows"])
    assert (50, False) == (ended["metrics"]["rows"], "sample_rows" in ended["metrics"])


async def test_without_rows_and_without_a_sample_it_is_refused(mill):
    """The way out is named."""
    digest = mill.artifacts.put(elsewhere())
    await mill.ask("mine", reason="OPERATOR", import_sha256=digest)
    async with mill.trainer():
        (refused,) = await mill.until_runs(1)
    assert ("FAILED", "imported") == (refused["status"], refused["source"])
    assert "no sample of records" in refused["error"]


async def test_a_lost_file_fails_the_run(mill):
    """Whoever asked reads which one."""
    await mill.grow(120)
    mill.artifacts.put(b"another")
    await mill.ask("mine", reason="OPERATOR", import_sha256="0" * 64)
    async with mill.trainer():
        failed = (await mill.until_runs(2))[1]
    assert ("FAILED", True) == (failed["status"], f"artefact {'0' * 64} is missing" in failed["error"])


def text_input():
    """A file that takes text."""
    model = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["X"], ["Y"])],
        "g",
        [onnx.helper.make_tensor_value_info("X", onnx.TensorProto.STRING, [None, 3])],
        [onnx.helper.make_tensor_value_info("Y", onnx.TensorProto.STRING, [None, 3])],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(model, opset_imports=opset, ir_version=8).SerializeToString()


def changed(edit):
    """A good file with something done to it."""
    model = onnx.load_model_from_string(elsewhere())
    edit(model)
    return model.SerializeToString()


def outside(model):
    """Keep a tensor in another file."""
    tensor = model.graph.initializer.add(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")


def branching(model):
    """Add a node that does one thing or another."""
    output = onnx.helper.make_tensor_value_info("other", onnx.TensorProto.BOOL, [])
    branch = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["when"], ["other"])], "branch", [], [output])
    model.graph.initializer.append(onnx.helper.make_tensor("when", onnx.TensorProto.BOOL, [], [True]))
    model.graph.node.append(onnx.helper.make_node("If", ["when"], ["said"], then_branch=branch, else_branch=branch))


FILES = {
    "not a model": (lambda: b"hello", "could not be served: not a valid ONNX file"),
    "cut short": (lambda: elsewhere()[:200], "could not be served: not a valid ONNX file"),
    "too narrow": (lambda: elsewhere(width=2), "width 3 is needed, the features in the project's order: x, x_change"),
    "of text": (text_input, "holds strings; features and classes are numbers"),
    "with a branch": (lambda: changed(branching), "loops and branches are not served"),
    "with a zipmap": (lambda: elsewhere(zipmap=True), "zipmap"),
    "with names for classes": (
        lambda: elsewhere(names=["no", "yes"]), "holds strings.* the index of each in label.classes",
    ),
    "of other classes": (lambda: elsewhere(names=[7, 8]), r"numbers its classes \[7, 8\], 0 upwards is needed"),
    "of foreign operators": (
        lambda: changed(lambda model: model.opset_import.add(domain="com.evil", version=1)), "domains .'com.evil'",
    ),
    "in parts": (lambda: changed(outside), "lies outside the file; a model must be whole"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_cannot_be_served_is_refused(tmp_path, name):
    """Each with its own reason and the way out."""
    make, error = FILES[name]
    task = task_of(project_with(tmp_path), imported=make())
    with pytest.raises(FitError, match=error):
        run_task(task)


SAMPLES = {
    "too few": (lambda good: b"\n".join(good[:49]), "has 49 records; 50 to 100,000 are needed"),
    "no JSON": (lambda good: b"\n".join([*good, b"x,y,1"]), "line 61 of the sample is no record"),
    "no label": (lambda good: b"\n".join([*good, b'{"features": [1, 2, 3]}']), "line 61 .*KeyError"),
    "too narrow": (
        lambda good: b"\n".join([b'{"features": [1], "label": 0}', *good]), "line 1 .* has 1 features; 3 are needed",
    ),
    "text": (
        lambda good: b"\n".join([b'{"features": [1, "2", 3], "label": 0}', *good]), "x_change is '2', a number or null",
    ),
    "a strange class": (
        lambda good: b"\n".join([b'{"features": [1, 2, 3], "label": "maybe"}', *good]), "line 1 of the sample: .*maybe",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_that_is_none_is_refused(tmp_path, name):
    """With the line's number."""
    spoil, error = SAMPLES[name]
    with pytest.raises(FitError, match=error):
        read_sample(spoil(lines(60).splitlines()), project_with(tmp_path))


def test_a_sample_is_read_in_its_order(tmp_path):
    """Missing values stay missing; labels may be names or numbers; empty lines are none."""
    content = b'{"features": [1, null, 3], "label": "yes"}\n\n{"features": [4, 5, 6], "label": 0}\n' + lines(60)
    rows = read_sample(content, project_with(tmp_path))
    assert (62, [1.0, 0.0]) == (len(rows.y), rows.y[:2].tolist())
    assert [[False, True, False], [False, False, False]] == np.isnan(rows.x[:2]).tolist()

"""``millrace explain``: one prediction, with all that is behind it."""

import json

import numpy as np
import pytest

from millrace.cli.connect import Clients
from millrace.cli.explain import as_record, lines
from millrace.cli.explain_read import ExplainError, explain
from millrace.cli.lineage_scan import silent
from millrace.contracts import topics
from millrace.contracts.events import TrainingProfileRecorded
from millrace.contracts.profile import encode_rows
from millrace.lineage.subject import LineageError
from millrace.stores.artifacts import ArtifactStore
from tests.cli.lineage_world import deployment, label, prediction, sample, say, version
from tests.onnx_models import classifier
from tests.support import World, tiny_project

ID = "tiny/tiny-samples/0/1"


def profile(names, rows=300):
    """What the version was trained on: ``x`` decides the label."""
    values = np.random.default_rng(2).random((rows, len(names)))
    columns = dict(zip(names, values.T, strict=True)) | {"label": (values[:, 0] > 0.5).astype(float)}
    return TrainingProfileRecorded(
        profile_id="profile/run-a", model="tiny", run_id="run-a", feature_set="f", rows=rows, holdout_rows=rows,
        from_time_ms=0, until_time_ms=1, frame=encode_rows(columns), recorded_at_ms=2,
        holdout_frame=encode_rows({**columns, "value": columns["label"]}),
    )  # fmt: skip


async def world_of(tmp_path, *, with_profile=True, labels=(1.0,)):
    """One scored sample, its labels, and a version whose file is in the store."""
    world = await World.create(tiny_project(tmp_path / "project"))
    names = world.project.feature_names
    store = ArtifactStore(str(tmp_path / "artifacts"))
    sha = store.put(classifier(len(names)))
    decided = deployment(1, 1)
    part = decided.traffic[0].model_copy(update={"artifact_sha256": sha})
    row = tuple([0.9] + [0.4] * (len(names) - 1))
    await say(
        world, topics.SAMPLES, sample(0, features=row), sample(1, features=row), *(label(1, one) for one in labels)
    )
    await say(world, topics.MODEL_VERSIONS, version(1, "run-a", "REGISTERED"), version(1, "run-a"))
    await say(world, topics.DEPLOYMENTS, decided.model_copy(update={"traffic": (part,)}))
    await say(world, topics.PREDICTIONS, prediction(1))
    if with_profile:
        await say(world, topics.TRAINING_PROFILES, profile(names))
    context = world.context()
    return Clients(world.project, context.transport, context.codec), store


@pytest.mark.parametrize("what", [ID, "event:e1", "tiny-samples/0/1", "tiny-predictions/0/0"])
async def test_a_prediction_is_explained_by_any_of_its_names(tmp_path, what):
    """Answer, version, reason, features that sum up, neighbours, and the label."""
    clients, store = await world_of(tmp_path)
    found = await explain(clients, what, store, None, silent)
    record = as_record(clients.project, found)
    features = {one["name"]: one for one in record["features"]}

    assert (ID, 1, "it is better") == (
        record["prediction"]["prediction_id"],
        record["prediction"]["version"],
        record["reason"],
    )
    assert record["label"] == 1.0
    assert record["why"]
    assert features["x"]["value"] == 0.9
    added = sum(one["added"] for one in features.values())
    assert np.isclose(record["usual"] + added, found.added.answer, atol=1e-6)
    assert len(record["nearest"]) == 3
    assert 0 <= record["stranger_than"] <= 1
    assert not any("profile" in note or "file" in note for note in record["notes"])
    json.dumps(record, allow_nan=False)


async def test_the_page_says_it_in_words(tmp_path):
    """The first line answers, then truth, version and reason, the features that added most, the neighbours."""
    clients, store = await world_of(tmp_path, labels=(0.0, 1.0))
    page = "\n".join(lines(clients.project, await explain(clients, ID, store, None, silent), 2))

    assert page.startswith(f"{ID}: yes with a score of 0.800")
    assert "its label is yes, as answered (corrected since)" in page
    assert "answered by version 1 as champion, epoch 1: it is better" in page
    assert "instead of the usual" in page
    assert "others together" in page
    assert "nearest training rows" in page


async def test_without_a_profile_it_says_so(tmp_path):
    """The rest is told all the same."""
    clients, store = await world_of(tmp_path, with_profile=False, labels=())
    found = await explain(clients, ID, store, None, silent)

    assert found.added is None
    assert found.label is None
    assert any("no training profile" in note for note in found.notes)
    assert "its label is not known yet" in "\n".join(lines(clients.project, found, 3))


async def test_a_lost_file_is_told(tmp_path):
    """The store lacks it: no attribution, the reason, and the neighbours all the same."""
    clients, _ = await world_of(tmp_path)
    found = await explain(clients, ID, ArtifactStore(str(tmp_path / "empty")), None, silent)

    assert found.added is None
    assert found.neighbours is not None
    assert any("what each feature added is not known" in note for note in found.notes)


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("event:e0", ExplainError, "no prediction that could be explained"),
        ("v1", LineageError, "no prediction; give a prediction id"),
        ("tiny/tiny-samples/0/99", LineageError, "no prediction"),
    ],
)
async def test_what_has_no_prediction_is_refused(tmp_path, what, error, words):
    """With what was asked for, and the way out."""
    clients, store = await world_of(tmp_path)
    with pytest.raises(error, match=words):
        await explain(clients, what, store, None, silent)

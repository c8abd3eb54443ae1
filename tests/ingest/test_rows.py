"""Features, profile and snapshots of a run of samples."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.errors import ContractError
from services.ingest.rows import RowMemory, Rows
from tests.support import MINUTE_MS, tiny_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The tiny project: a value, its difference and the last label; a snapshot at every tenth label."""
    return tiny_project(tmp_path_factory.mktemp("project"))


def run(kinds: str, first: int = 0) -> Rows:
    """Rows of one entity, ``e`` for an event and ``l`` for a label, valued by their place from ``first`` on."""
    is_label = np.array([kind == "l" for kind in kinds], dtype=np.bool_)
    places = np.arange(first, first + len(kinds), dtype=np.float64)
    times = places.astype(np.int64) * MINUTE_MS
    return Rows(is_label, ["w"] * len(kinds), times, places[~is_label][:, None], places[is_label] % 2)


def test_features_see_the_labels_before_them(project):
    """Value, difference and last label of each event, in the order of the run."""
    features, due = RowMemory(project).advance(run("elele"))

    assert [[0.0, 2.0, 4.0], [2.0, 2.0], [1.0, 1.0]] == [
        features[:, 0].tolist(), features[1:, 1].tolist(), features[1:, 2].tolist()
    ]  # fmt: skip
    assert [] == due


def test_a_snapshot_is_due_at_every_tenth_label(project):
    """The label that completes ten carries the summary of all rows up to it, and says where it stands."""
    _, due = RowMemory(project).advance(run("el" * 24))

    assert [(19, 10, 10, 18 * MINUTE_MS), (39, 20, 20, 38 * MINUTE_MS)] == [
        (one.place, one.rows, one.labelled_rows, one.until_time_ms) for one in due
    ]
    assert ("x", 9.0, 19.0) == (due[0].profile[0].name, due[0].profile[0].mean, due[1].profile[0].mean)


@given(kinds=st.text("el", max_size=1200), cut=st.integers(0, 1200))
def test_saved_and_restored_all_goes_on(project, kinds, cut):
    """After a restart between any two rows: the same features and snapshots, profile and counts included."""
    memory, restored = RowMemory(project), RowMemory(project)
    memory.advance(run(kinds[:cut]))
    frames = memory.save(chunk_bytes=300)
    restored.advance(run("el"))  # to be forgotten
    restored.restore(frames)
    expected, due = memory.advance(run(kinds[cut:], cut))
    features, found = restored.advance(run(kinds[cut:], cut))

    assert max(map(len, frames)) <= 300
    assert (expected.tobytes(), due) == (features.tobytes(), found)
    assert memory.save() == restored.save()


def test_what_another_project_saved_is_refused(project, tmp_path):
    """The features must be the same; the memory stays what it was."""
    other = tiny_project(tmp_path, features=[{"name": "x", "kind": "value", "field": "x"}])
    memory = RowMemory(project)
    memory.advance(run("ele"))
    before = memory.save()

    with pytest.raises(ContractError, match=f"feature set {other.feature_set}, not of {project.feature_set}"):
        memory.restore(RowMemory(other).save())
    assert before == memory.save()


def test_entities_expire_as_the_project_says(tmp_path):
    """After 10,000 rows an entity that is behind by more than it may is new again."""
    project = tiny_project(tmp_path, data={"entities": {"expire_after_s": 3600}})
    memory, count = RowMemory(project), 10_000
    is_label, times = np.zeros(count, np.bool_), np.arange(count) * MINUTE_MS
    memory.advance(Rows(is_label, ["a"] + ["b"] * (count - 1), times, np.ones((count, 1)), np.empty(0)))
    rows = Rows(is_label[:2], ["a", "b"], times[-1:].repeat(2), np.ones((2, 1)), np.empty(0))

    features, _ = memory.advance(rows)

    assert [True, False] == np.isnan(features[:, 1]).tolist()


@given(kinds=st.text("el", max_size=80), cuts=st.lists(st.integers(0, 80), max_size=5))
def test_cutting_a_run_changes_nothing(project, kinds, cuts):
    """However the rows are cut: the same features, and the same snapshots after the same rows."""
    features, due = RowMemory(project).advance(run(kinds))
    borders = sorted({0, len(kinds), *(min(cut, len(kinds)) for cut in cuts)})
    memory, parts, places = RowMemory(project), [], []
    for start, stop in itertools.pairwise(borders):
        part, found = memory.advance(run(kinds[start:stop], start))
        parts.append(part)
        places += [(start + one.place, one.rows, one.labelled_rows, one.until_time_ms, one.profile) for one in found]

    assert [(one.place, one.rows, one.labelled_rows, one.until_time_ms, one.profile) for one in due] == places
    if parts:
        assert np.concatenate(parts).tobytes() == features.tobytes()

"""A watch that was killed and restored is equal to one that was not: same findings, same state."""

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts.gates_policy import Slice
from millrace.contracts.monitor_policy import Watched, Windows
from services.monitor.frames import Rows, SavePoint
from services.monitor.policy import Policy
from services.monitor.watch import Drift, Finding, Uncompared, Watch
from tests.monitor.drifting import frames, noise, profile, stream

ROWS = 2_000  # events; each has its label
POLICY = Policy(
    classes=2,
    features={"delta": 0.002},
    false_alarm_rows=10_000,
    estimate="ask",
    slices=(Slice(feature="f0", bins=(0.0,)), Slice(feature="f1", bins=3)),
    watch=(
        Watched(on="features", detector="page_hinkley", features=("f1",)),
        Watched(on="predictions", detector="page_hinkley"),
        Watched(on="scores", detector="adwin"),
        Watched(on="error", detector="adwin", slices=True, parameters={"delta": 0.1}),
    ),
    windows=Windows(
        detectors=("ks", "missing_rate"), window_s=120, rows_min=100, rows_max=110, false_alarm_windows=100
    ),
    cool_down_rows=150,
    warm_up_rows=40,
    metrics_window_rows=100,
    horizon_rows=1_000,
    save_every_rows=700,
)
REGRESSION = replace(POLICY, task="regression", classes=0, watch=())


@cache
def rows_of(task: str) -> Rows:
    """Errors, scores and features that move, and a new champion in between; labels come 50 events late."""
    at = np.arange(ROWS)
    rng = np.random.default_rng(5)
    features = noise(ROWS, 3)
    features["f1"] = features["f1"] + 2.0 * (at >= 700) - 2.0 * (at >= 1_600)
    features["f2"] = np.where(rng.random(ROWS) < 0.1, np.nan, features["f2"])
    rates = np.where(at < 600, 0.1, np.where(at < 1_200, 0.6, np.where(at < 1_500, 0.2, 0.7)))
    versions = np.where(at < 1_100, 1, np.where(at < 1_150, 2, 3))
    if task == "regression":
        return stream(features, rng.random(ROWS) * rates, versions=versions, delay=50, regression=True)
    confidence = np.clip(rng.normal(np.where(at < 500, 0.9, 0.6), 0.05), 0.5, 1)
    return stream(features, rng.random(ROWS) < rates, versions=versions, delay=50, confidence=confidence)


@cache
def profile_of(version: int) -> Any:
    """Version 3 has none."""
    rng = np.random.default_rng(version)
    confidence = rng.uniform(0.5, 1, 500)
    return None if version == 3 else profile(noise(500, 3, version), confidence, (rng.random(500) < confidence) * 1.0)


@cache
def undisturbed(task: str) -> tuple[list[Finding], str]:
    """The findings and the last state of one process that takes all rows as one frame."""
    watch = Watch(POLICY if task == "classification" else REGRESSION, profile_of)
    return watch.take(rows_of(task)), state_of(watch)


def state_of(watch: Watch) -> str:
    """What it remembers; windows of metrics are told apart by their keys, not by their order."""
    state = watch.saved()
    state["prequential"]["windows"].sort(key=json.dumps)
    return json.dumps(state)


def restored(policy: Policy, rows: Rows, point: SavePoint | None) -> Watch:
    """A new process: what the shell does with a save point, which has been through JSON."""
    watch = Watch(policy, profile_of)
    if point is not None:
        watch.restore(json.loads(json.dumps(point.content)))
        watch.remember(rows.between(point.join_from_sample, point.until_sample_offset))
    return watch


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_stream_shows_what_is_to_be_kept(task: str) -> None:
    """All kinds of findings are among those that must be equal; else the property says little."""
    findings, _ = undisturbed(task)
    drifts = [each for each in findings if isinstance(each, Drift)]

    assert {"ALARM", "WARNING"} == {drift.severity for drift in drifts}
    assert any(drift.evidence for drift in drifts)
    assert {3} == {each.version for each in findings if isinstance(each, Uncompared)}
    assert "windows" in {drift.origin for drift in drifts}
    if task == "classification":
        assert {"error", "estimated_error", "score:1", "feature:f1"} <= {drift.subject for drift in drifts}
        assert {"", "watch-0", "watch-2", "watch-3"} <= {drift.origin for drift in drifts}
        assert any(drift.slice for drift in drifts)


@pytest.mark.parametrize("task", ["classification", "regression"])
@given(
    cuts=st.lists(st.integers(1, 3_949), max_size=12),
    kills=st.lists(st.integers(0, 12), max_size=3, unique=True),
)
@settings(max_examples=10, deadline=None)
def test_restored_equals_undisturbed(task: str, cuts: list[int], kills: list[int]) -> None:
    """However frames are cut, and after whichever of them it is killed: it goes on as if nothing had happened.

    Findings of the rows that are read again come out again, the same; here they are dropped by their offset, in the
    service by the published position.
    """
    policy, rows = (POLICY if task == "classification" else REGRESSION), rows_of(task)
    expected, state = undisturbed(task)
    watch, point, found = restored(policy, rows, None), None, []
    parts = frames(rows, cuts)
    for number, part in enumerate(parts):
        found += watch.take(part)
        point = watch.save_point or point
        if number in kills:
            begin = 0 if point is None else point.until_sample_offset
            found = [each for each in found if each.offset < begin]
            watch = restored(policy, rows, point)
            found += watch.take(rows.between(begin, part.until_offset))

    assert expected == found
    assert state == state_of(watch)


def test_a_save_point_says_where_it_is() -> None:
    """At a multiple of rows: in the middle of a frame the next row's offset, at its end the frame's."""
    rows = rows_of("classification")
    watch = Watch(POLICY, profile_of)

    watch.take(rows.cut(0, 699))
    assert watch.save_point is None
    watch.take(rows.cut(699, 710))
    assert watch.save_point is not None
    assert (700, False) == (watch.save_point.until_sample_offset, watch.save_point.whole)
    watch.take(rows.cut(710, 1_400))
    assert watch.save_point is not None
    assert (1_400, True) == (watch.save_point.until_sample_offset, watch.save_point.whole)
    watch.take(rows.cut(1_400, 1_500))
    assert watch.save_point is None

"""What a monitor in production must live through: odd numbers, foreign records, many champions, many runs."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from millrace.bus.types import Bounds
from millrace.contracts import topics
from millrace.contracts.gates_policy import Slice
from millrace.contracts.monitor_policy import Watched
from services.monitor.control import PROFILES_KEPT, Control, published_until
from services.monitor.frames import Rows
from services.monitor.measure import Measured
from services.monitor.policy import Policy
from services.monitor.restart import Restart
from services.monitor.watch import Drift, Finding, Watch
from tests.monitor.controls import ALARM
from tests.monitor.drifting import noise, profile, stream
from tests.monitor.processes import POLICY, Process, deploy, simulate, trained, write
from tests.monitor.test_control import fresh
from tests.support import World, tiny_project

ROWS = 1_500
STEP = np.arange(ROWS) >= 900
CALIBRATED = profile(noise(500, 1), np.linspace(0.5, 1, 500), (np.arange(500) % 4 > 0) * 1.0)


@pytest.fixture
def project(tmp_path):
    """A small model project."""
    return tiny_project(tmp_path)


def drifting(features: Any = None, scores: Any = None, *, regression: bool = False) -> Rows:
    """Errors that rise; every 50th event may have odd scores."""
    rng = np.random.default_rng(3)
    rates = np.where(STEP, 0.6, 0.1)
    wrong = rates * rng.random(ROWS) if regression else rng.random(ROWS) < rates
    rows = stream(features or noise(ROWS, 1), wrong, regression=regression)
    if scores is not None:
        odd = np.flatnonzero(~rows.is_label)[::50]
        rows.scores[odd] = scores
    return rows


def drifts(findings: list[Finding]) -> list[Drift]:
    """The drifts among them."""
    return [each for each in findings if isinstance(each, Drift)]


@pytest.mark.parametrize("detector", ["e_detector", "hddm_a", "hddm_w", "adwin"])
@pytest.mark.parametrize("scores", [(-1e-9, 1.0000001), (-3.0, 4.0), (np.inf, np.nan)])
def test_scores_beyond_0_and_1_stop_nothing(detector: Any, scores: Any) -> None:
    """A model's score may be a rounding above 1, or no probability at all; all others are watched as before."""
    policy = Policy(classes=2, watch=(Watched(on="scores", detector=detector),), false_alarm_rows=10_000)

    found = Watch(policy).take(drifting(scores=scores))

    assert "error" in {drift.subject for drift in drifts(found)}


@pytest.mark.parametrize("scores", [(np.nan, 0.9), (np.inf, 0.9), (1e308, 0.9)])
def test_an_estimate_is_of_numbers_only(scores: Any) -> None:
    """Where a row lacks the score of another class, nothing is said of the log loss, and all else is."""
    found = Watch(Policy(classes=2), lambda _: CALIBRATED).take(drifting(scores=scores))
    estimates = [each for each in found if isinstance(each, Measured) and each.source == "estimate"]

    assert estimates
    assert all(
        np.isfinite([*part.values()]).all() for each in estimates for part in (each.metrics, each.low, each.high)
    )
    assert ("log_loss" in estimates[0].metrics) == np.isfinite(scores).all()


@pytest.mark.parametrize("huge", [1e308, 1e200, np.inf])
@pytest.mark.parametrize("detector", ["adwin", "page_hinkley", "kswin"])
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_evidence_about_huge_numbers_is_of_numbers(detector: Any, huge: float) -> None:
    """A feature of broken units: means, bins and parameters can be written down, and drawn."""
    features = noise(ROWS, 1)
    broken = np.arange(ROWS) % 2 * STEP == 1
    features["f0"][broken] = np.random.default_rng(4).choice([huge, -huge], broken.sum())
    policy = Policy(classes=2, windows=None, watch=(Watched(on="features", detector=detector),))

    found = Watch(policy).take(drifting(features))

    for drift in drifts(found):
        assert np.isfinite([drift.change.before, drift.change.after, *drift.picture.bins]).all(), drift


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_huge_first_errors_leave_a_usable_bound() -> None:
    """Of a regression without a profile, whose first errors are too large for a number: later ones are watched."""
    rows = drifting(regression=True)
    values, labels = rows.values.copy(), rows.labels.copy()
    first = slice(0, 60)
    values[first] = np.where(rows.is_label[first], np.nan, 1.7e308)
    labels[first] = np.where(rows.is_label[first], -1.7e308, np.nan)
    watch = Watch(Policy(task="regression", warm_up_rows=30))

    watch.take(replace(rows, values=values, labels=labels))

    bound = watch.saved()["drifts"]["error"]["bound"]
    assert bound is not None
    assert np.isfinite(bound)


def test_champions_leave_no_detectors_behind() -> None:
    """Parts by the training rows are others for each champion: what watched the old ones is let go."""
    slices = (Slice(feature="f0", bins=2), Slice(feature="f0", bins=(0.0,)))
    policy = Policy(classes=2, slices=slices, watch=(Watched(on="features", detector="adwin", slices=True),))
    trained_on = {version: profile({"f0": np.arange(100.0) / version}) for version in range(1, 31)}
    rows = replace(stream(noise(900, 1), np.zeros(900, bool)), champion=0)
    watch = Watch(policy, trained_on.get)
    series = []
    for version in range(1, 31):
        part = rows.cut(60 * (version - 1), 60 * version)
        watch.take(replace(part, champion=version, versions=np.where(part.is_label, 0, version).astype(np.int32)))
        series.append(len(watch.saved()["drifts"]["watching"]))

    assert max(series) <= 1 + 3 + 3, "all rows, the parts of the champion, those at 0"


def test_a_new_process_keeps_the_champions_profile_too(project: Any) -> None:
    """However many runs came after its own, also to a process that reads all of them at once."""

    async def work() -> list[bool]:
        world = await World.create(project)
        await trained(world, 1, [0.5])
        await deploy(world, 1)
        for version in range(2, PROFILES_KEPT + 4):
            await trained(world, version, [0.5])
        control = await fresh(world)
        await control.refresh()
        return [control.profile(version) is not None for version in (1, 2, PROFILES_KEPT + 3)]

    assert [True, False, True] == simulate(work)


def test_a_foreign_record_among_the_findings_does_not_stop_the_monitor(project: Any) -> None:
    """Where the position is forgotten the findings tell; one that is none is passed over."""

    async def work() -> int:
        world = await World.create(project)
        await world.send(topics.MODEL_METRICS, ("m", b"no finding"))
        return await published_until(world.context("monitor"), 0)

    assert simulate(work) == 0


def test_an_old_alarm_asks_for_nothing_while_its_rows_are_read_again(project: Any, make: Any) -> None:
    """Where newer findings are out already a newer alarm may have taken its place; it asks once it is the newest."""

    async def work() -> list[int]:
        world = await World.create(project)
        await deploy(world, 1)
        await write(world, [make.observed(make.lines_of([False] * 20))])
        process = Process(world)
        await process.reach(world)
        partition, asked = process.service._partitions[0], []
        partition.alarm = ALARM
        for published in (partition.next_offset + 1, partition.next_offset):
            partition.published, partition.ask_at_s = published, 0.0
            await process.service._ask_again(partition)
            asked.append(len(await world.values(topics.RETRAIN_REQUESTS)))
        return asked

    assert [0, 1] == simulate(work)


@pytest.mark.parametrize("spoil", [
    lambda content: content.update(rollout={"rollout_id": None, "epochs": [[1]]}),
    lambda content: content["drifts"].update(watching=[["", "feature:price"]]),
    lambda content: content["drifts"].update(lateness=[]),
    lambda content: content["drifts"].update(error=None),
])  # fmt: skip
def test_state_of_another_form_is_left_out(project: Any, make: Any, spoil: Any) -> None:
    """Whatever it provokes: the monitor reads all observations instead of dying of it again and again."""
    lines = make.lines_of([False] * 200)
    frames = make.cut(lines, range(40, 400, 40))

    async def work() -> Any:
        world = await World.create(project)
        await write(world, frames)
        process = Process(world)
        await process.reach(world)
        partition = process.service._partitions[0]
        content = json.loads(json.dumps(partition.watch.saved()))
        spoil(content)
        saved = replace(await states(process), content=content)
        context = world.context("monitor")
        restart = Restart(context, POLICY, Control(context))
        return await restart._restored(partition, saved, Bounds(0, saved.until_offset))

    assert simulate(work) is False


async def states(process: Process) -> Any:
    """The newest saved state."""
    saved = await process.service._restart._states(0).newest()
    assert not isinstance(saved, str), saved
    return saved

"""The measuring client, its figures and its checks, on a run whose truth is known."""

import asyncio
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.demo.baseline import frozen
from millrace.demo.checks import check
from millrace.demo.figures import Facts, curves, report
from millrace.demo.measure import Measure, Run
from millrace.demo.report import Report
from tests.demo.scene import DRIFT_ROW, FIRST_ROWS, ROWS, SECOND_ROW, TURN_ROW, Scene
from tests.onnx_models import classifier

DECISIONS = 13  # drifts 2, request 1, runs 2, changes 4, deployments 2, statuses 2
FACTS = Facts(run_s=1.0, start_s=1.0, rate=550, first_rows=FIRST_ROWS, restarts={"serving": 1})


def measure_of(scene: Scene) -> Measure:
    """A client of its own, on a connection of its own."""
    return Measure(scene.world.transport(), Codec(scene.world.schemas), scene.world.project, scene.world.clock)


def judged(run: Run) -> Report:
    """The report with its checks."""
    found = curves(run.ledger, frozen(classifier(3), run.ledger.columns().features))
    return check(report(run, run.received_ms, found, FACTS))


async def report_of(scene: Scene) -> Report:
    """What the topics tell about the scene."""
    return judged(await measure_of(scene).read_all())


def failed(found: Report) -> list[str]:
    """Names of the checks that fail."""
    return [one.name for one in found.failed]


async def test_a_loop_that_closed_passes_every_check(tmp_path: Path) -> None:
    """All six checks hold for a run in which nothing went wrong."""
    found = await report_of(await Scene.play(tmp_path))

    assert (6, []) == (len(found.checks), failed(found))


async def test_counts_are_those_of_the_run(tmp_path: Path) -> None:
    """Rows, predictions and decisions are counted from the topics."""
    found = await report_of(await Scene.play(tmp_path))

    counts = (found.rows, found.valid_events, found.events_before_first_model, found.predictions, found.labels)
    assert (ROWS, ROWS, FIRST_ROWS, ROWS - FIRST_ROWS, ROWS) == counts
    assert (2, 1, 1, 2, 1) == (
        found.drift_events, found.alarms, found.retrains, found.deployments, found.drift_caused_deployments,
    )  # fmt: skip


async def test_accuracies_are_those_that_the_scene_was_built_for(tmp_path: Path) -> None:
    """The loop errs between the turn and the second version, the frozen model from the turn on."""
    found = await report_of(await Scene.play(tmp_path))

    counted = ROWS - FIRST_ROWS
    expected = (1 - (SECOND_ROW - TURN_ROW) / counted, (TURN_ROW - FIRST_ROWS) / counted)
    assert expected == pytest.approx((found.accuracy.loop, found.accuracy.frozen), abs=1e-4)


async def test_the_last_label_is_the_one_known_when_the_event_happened(tmp_path: Path) -> None:
    """Labels come 30 s after their event and events every 60 s, so the baseline repeats the label of the row before."""
    scene = await Scene.play(tmp_path)
    run = await measure_of(scene).read_all()
    columns = run.ledger.columns()

    expected = np.mean(columns.label[FIRST_ROWS:] == columns.label[FIRST_ROWS - 1 : -1])

    assert expected == pytest.approx(judged(run).accuracy.repeat_last, abs=1e-4)


async def test_the_chain_of_ids_leads_from_drift_to_serving(tmp_path: Path) -> None:
    """Each id of the chain is the cause that the next event names, and both ends have their rows."""
    chain = (await report_of(await Scene.play(tmp_path))).chain[1]

    ids = (chain.drift_id, chain.request_id, chain.run_id, chain.change_ids, chain.deployment_ids)
    assert ("drift-1", "request-1", "run-2", ("2/REGISTERED", "2/PROMOTED"), ("deployment-2",)) == ids
    assert (DRIFT_ROW, SECOND_ROW) == (chain.drift_row, chain.from_row)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"lose": [150]}, ["each-event-once", "nothing-skipped"]),
        ({"double": [150, 151]}, ["no-duplicates"]),
        ({"drift": False}, ["closed-by-drift", "better-than-frozen"]),
    ],
)
async def test_a_planted_fault_fails_the_check_that_watches_for_it(
    tmp_path: Path, fault: dict[str, object], expected: list[str]
) -> None:
    """A lost prediction, a doubled one and a loop that never closed are each found, and nothing else is blamed."""
    assert expected == failed(await report_of(await Scene.play(tmp_path, **fault)))  # type: ignore[arg-type]


async def test_an_event_that_led_to_nothing_is_found(tmp_path: Path) -> None:
    """An input without a sample and without a dead letter fails the accounting."""
    scene = await Scene.play(tmp_path)
    await scene.world.send(topics.EVENTS, await scene.world.event(id="late"))

    found = await report_of(scene)

    assert (["nothing-skipped"], 1) == (failed(found), found.unaccounted_inputs["tiny-events"])


async def test_following_ends_with_what_reading_from_the_start_finds(tmp_path: Path) -> None:
    """The live client, who sees all topics at once, comes to the same figures, and noted when it saw predictions."""
    scene = await Scene.play(tmp_path)
    measure = measure_of(scene)
    live = measure.new_run()
    following = asyncio.create_task(measure.follow(live))
    async with asyncio.timeout(20):
        while live.ledger.predictions < ROWS - FIRST_ROWS or len(live.control.said) < DECISIONS:  # noqa: ASYNC110
            await asyncio.sleep(0)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    told = await measure.read_all()
    live.inputs = told.inputs

    assert judged(told).model_copy(update={"event_to_prediction_ms": None}) == judged(live).model_copy(
        update={"event_to_prediction_ms": None}
    )
    assert ROWS - FIRST_ROWS == len(live.received_ms)

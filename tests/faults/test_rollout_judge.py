"""The judge of rollouts finds what it is there to find: each planted fault, and nothing where there is none."""

from pathlib import Path
from typing import Any

import pytest

from millrace.contracts.project import Project
from tests.faults.rollout_judge import belongs_to, decided_once, hold
from tests.support import tiny_project

PARTS = {"champion": 1, "candidate": 2}
NOT_A_NUMBER = float("nan")


def part(variant: str, share: float) -> dict[str, Any]:
    """A part of a deployment."""
    return {"variant": variant, "version": PARTS[variant], "share": share, "mode": "LIVE"}


CANARY = {
    "epoch": 2, "deployment_id": "d/2", "rollout_id": "rollout/tiny/2", "unit": "event",
    "traffic": [part("champion", 0.7), part("candidate", 0.3)],
}  # fmt: skip
BACK = {
    "epoch": 3, "deployment_id": "d/3", "rollout_id": None, "unit": "event", "traffic": [part("champion", 1.0)],
}  # fmt: skip


def said(offset: int, variant: str, epoch: int, *, named: bool) -> dict[str, Any]:
    """What a variant said about an event."""
    ending = f"/{variant}" if named else ""
    return {
        "prediction_id": f"tiny/tiny-samples/0/{offset}{ending}", "event_id": f"e{offset}", "entity": "who",
        "version": PARTS[variant], "variant": variant, "epoch": epoch, "value": 1.0, "scores": [0.2, 0.8],
        "label": "yes", "sample_partition": 0, "sample_offset": offset,
    }  # fmt: skip


def sound() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Forty events of a canary and ten after it: predictions, and what the other one said."""
    predictions, shadow = [], []
    for offset in range(50):
        decided = CANARY if offset < 40 else BACK
        variant = belongs_to(decided, {"event_id": f"e{offset}", "entity": "who"})
        predictions.append(said(offset, variant, decided["epoch"], named=variant != "champion"))
        if decided is CANARY:
            other = "champion" if variant == "candidate" else "candidate"
            shadow.append(said(offset, other, 2, named=True))
    return predictions, shadow


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Whose predictions they are."""
    return tiny_project(tmp_path / "project")


def test_a_rollout_as_decided_is_held(project: Project) -> None:
    """Both variants have answered, also where each event must have the one that it belongs to."""
    predictions, shadow = sound()

    hold(project, predictions, shadow, [CANARY, BACK], healthy=True)
    assert {1, 2} == {one["version"] for one in predictions}
    assert 4 <= sum(one["version"] == 2 for one in predictions) <= 20, "three of ten, by the hash"


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "belongs to champion": ("champion", {"variant": "candidate", "version": 2, "prediction_id": "/candidate"}),
    "not what the deployment says": ("champion", {"version": 2}),
    "the id names another": ("candidate", {"prediction_id": ""}),
    "was never decided": ("champion", {"epoch": 9}),
    "has the variants": ("candidate", {"epoch": 3}),
    "an older deployment came back": ("champion", {"epoch": 3}),
    "no number": ("champion", {"scores": [NOT_A_NUMBER, NOT_A_NUMBER]}),
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_fault_in_the_answers_is_found(project: Project, words: str) -> None:
    """More than its share, another version, another id, an unknown or an old epoch, NaN."""
    predictions, shadow = sound()
    variant, changes = FAULTS[words]
    victim = next(one for one in predictions if one["variant"] == variant)
    ending = changes.get("prediction_id")
    place = {} if ending is None else {"prediction_id": f"tiny/tiny-samples/0/{victim['sample_offset']}{ending}"}
    victim.update({**changes, **place})

    with pytest.raises(AssertionError, match=words):
        hold(project, predictions, shadow, [CANARY, BACK])


def test_an_event_that_the_champion_took_is_found_where_nobody_failed(project: Project) -> None:
    """It may answer in another one's place, but not in the place of one that is sound."""
    predictions, shadow = sound()
    victim = next(one for one in predictions if one["variant"] == "candidate")
    victim.update(said(victim["sample_offset"], "champion", 2, named=False))
    its = [one for one in shadow if one["event_id"] != victim["event_id"]]

    hold(project, predictions, its, [CANARY, BACK])
    with pytest.raises(AssertionError, match="belongs to candidate"):
        hold(project, predictions, its, [CANARY, BACK], healthy=True)


def test_a_fault_in_the_shadow_is_found(project: Project) -> None:
    """Two words about one event, the same one's twice, or of another epoch."""
    predictions, shadow = sound()
    same = {**predictions[0], "prediction_id": f"tiny/tiny-samples/0/0/{predictions[0]['variant']}"}

    for words, wrong in (
        ("two other words", [*shadow, shadow[0]]),
        ("not the other one's word", [same, *shadow[1:]]),
        ("of another epoch", [{**shadow[0], "epoch": 3}, *shadow[1:]]),
    ):
        with pytest.raises(AssertionError, match=words):
            hold(project, predictions, wrong, [CANARY, BACK])


def test_what_was_decided_twice_is_found() -> None:
    """A deployment twice, an epoch that does not grow, a measurement twice."""
    decided_once([CANARY, BACK], [{"evidence_id": "a"}, {"evidence_id": "b"}])
    for deployments, evidence in (
        ([CANARY, CANARY], []),
        ([BACK, CANARY], []),
        ([CANARY], [{"evidence_id": "a"}, {"evidence_id": "a"}]),
    ):
        with pytest.raises(AssertionError):
            decided_once(deployments, evidence)

"""Whether a rollout kept to what was decided, as clients that are not ours see it. Use it after ``judge``.

``judge`` holds that each event has exactly one prediction. This holds, for each of them and for the shadow topic:

- the deployment that it names was decided, gave its version traffic under that variant, and its id says so;
- the variant that answered is the one that the event belongs to, by a draw computed here anew; only the champion may
  answer for another one. So no version ever got more than its share, and an entity that left comes back to its own;
- within a partition the epochs never go back;
- the answer is a number and a known class: nothing that a bad version said got through;
- what went to the shadow topic is the other version's word about an event that was answered, once.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from millrace.contracts import topics
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from tests.faults.harness import Scene
from tests.faults.judge import Books, repeated
from tests.faults.readers import Decoder, everything

CHAMPION = "champion"
Values = list[dict[str, Any]]


def decided_once(deployments: Sequence[Mapping[str, Any]], evidence: Sequence[Mapping[str, Any]] = ()) -> None:
    """I4: each decision is in the log once, epochs only grow, and each measurement was given once."""
    assert [] == repeated(one["deployment_id"] for one in deployments), "a deployment twice"
    epochs = [one["epoch"] for one in deployments]
    assert all(before < after for before, after in pairwise(epochs)), epochs
    assert [] == repeated(one["evidence_id"] for one in evidence), "evidence twice"


def kept(scene: Scene, books: Books, deployments: Sequence[Mapping[str, Any]], *, healthy: bool = False) -> Values:
    """Assert all that the module says; returns the predictions.

    Args:
        scene: whose.
        books: from ``judge``.
        deployments: those that serving had to carry out.
        healthy: whether every event must have been answered by the variant that it belongs to.
    """
    decode = Decoder(scene)
    predictions = [value for _, value in books.predictions]
    shadow = [decode(one.value) for one in everything(scene, scene.topic(topics.SHADOW_PREDICTIONS))]
    hold(scene.project, predictions, shadow, deployments, healthy=healthy)
    return predictions


def hold(
    project: Project, predictions: Values, shadow: Values, deployments: Sequence[Mapping[str, Any]], *,
    healthy: bool = False,
) -> None:  # fmt: skip
    """The same of what was read."""
    by_epoch = {one["epoch"]: one for one in deployments}
    epochs: dict[int, list[int]] = defaultdict(list)
    for one in predictions:
        assert one["epoch"] in by_epoch, f"{one['prediction_id']}: epoch {one['epoch']} was never decided"
        decided = by_epoch[one["epoch"]]
        _is_of_its_traffic(project, one, decided)
        belongs = belongs_to(decided, one)
        allowed = {belongs} if healthy else {belongs, CHAMPION}
        assert one["variant"] in allowed, f"{one['prediction_id']} belongs to {belongs}: {one}"
        _is_an_answer(project, one)
        epochs[one["sample_partition"]].append(one["epoch"])
    for seen in epochs.values():
        assert sorted(seen) == seen, "an older deployment came back"
    _the_shadow_is_the_other(project, predictions, shadow, by_epoch)


def belongs_to(decided: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """The variant that the hash of rollout and unit gives an event to."""
    others = [part for part in decided["traffic"] if part["variant"] != CHAMPION]
    if not others:
        return CHAMPION
    unit = one["entity"] if decided["unit"] == "entity" else one["event_id"]
    digest = hashlib.blake2b(unit.encode(), key=decided["rollout_id"].encode()).digest()
    drawn, border = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for part in others:
        border += part["share"]
        if drawn < border:
            return str(part["variant"])
    return CHAMPION


def _is_of_its_traffic(project: Project, one: Mapping[str, Any], decided: Mapping[str, Any]) -> None:
    parts = {part["variant"]: part for part in decided["traffic"]}
    part = parts.get(one["variant"])
    assert part is not None, f"{one['prediction_id']}: epoch {decided['epoch']} has the variants {sorted(parts)}"
    assert (part["version"], "LIVE") == (one["version"], part["mode"]), "not what the deployment says"
    ending = "" if one["variant"] == CHAMPION else f"/{one['variant']}"
    assert f"{_place(project, one)}{ending}" == one["prediction_id"], "the id names another"


def _is_an_answer(project: Project, one: Mapping[str, Any]) -> None:
    assert math.isfinite(one["value"]), "no number"
    assert all(map(math.isfinite, one["scores"])), "no number"
    assert project.label.classes[int(one["value"])] == one["label"]


def _the_shadow_is_the_other(
    project: Project, predictions: Values, shadow: Values, by_epoch: Mapping[int, Mapping[str, Any]]
) -> None:
    answered = {one["event_id"]: one for one in predictions}
    assert [] == repeated(one["event_id"] for one in shadow), "two other words about one event"
    for one in shadow:
        answer = answered[one["event_id"]]
        versions = {part["version"] for part in by_epoch[one["epoch"]]["traffic"]}
        assert answer["epoch"] == one["epoch"], "of another epoch"
        assert versions == {answer["version"], one["version"]}, "not the other one's word"
        assert f"{_place(project, one)}/{one['variant']}" == one["prediction_id"]


def _place(project: Project, one: Mapping[str, Any]) -> str:
    samples = topic_name(topics.SAMPLES, project)
    return f"{project.model}/{samples}/{one['sample_partition']}/{one['sample_offset']}"

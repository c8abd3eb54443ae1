"""Gathers what there is to say about one prediction: the log's facts, and what the model's file itself shows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from millrace.bus.clock import SystemClock
from millrace.cli.connect import Clients
from millrace.cli.history import read_life
from millrace.cli.lineage_lake import LakeSamples
from millrace.cli.lineage_read import LineageReader
from millrace.cli.lineage_scan import Progress
from millrace.contracts import topics
from millrace.contracts.errors import ContractError, MillraceError
from millrace.contracts.events import DeploymentDecided, PredictionMade, TrainingProfileRecorded
from millrace.contracts.profile import Floats, Profile, profile_of
from millrace.explain.nearest import Neighbours, nearest
from millrace.explain.shapley import Attribution, attribute
from millrace.lineage.facts import Placed
from millrace.stores.artifacts import ArtifactStore
from services.registry.commands import Log
from services.registry.history import Life
from services.registry.history_chain import chain
from services.registry.history_views import CauseView


class ExplainError(MillraceError):
    """There is no such prediction to explain."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One prediction, and all that can be said of it. What cannot be said stands in ``notes``, with the reason.

    ``label`` is the newest one known; None while there is none. ``why`` is the chain of causes of the deployment under
    which it was made. ``features`` are what the model was given, by name; ``added`` is of the score of the class that
    was answered, or of the value.
    """

    prediction: PredictionMade
    sample: Placed | None
    label: float | None
    corrected: bool
    decided_by: str | None
    reason: str | None
    why: tuple[CauseView, ...]
    features: dict[str, float] = field(default_factory=dict)
    added: Attribution | None = None
    neighbours: Neighbours | None = None
    profile: Profile | None = None
    notes: tuple[str, ...] = ()


async def explain(
    clients: Clients, what: str, store: ArtifactStore, lake: LakeSamples | None, progress: Progress
) -> Explained:
    """Everything about the prediction of that id, place or event.

    Raises:
        LineageError: it is not understood, or nothing is known about it.
        ExplainError: the event has no prediction, or its record is gone.
    """
    project = clients.project
    reader = LineageReader(project, clients.transport, clients.codec, progress, lake)
    subject, found = await reader.prediction(what)
    made = [one for one in found.predictions if one.prediction_id == subject.name] or list(found.predictions)
    if not made:
        raise ExplainError(f"{what} has no prediction that could be explained: {'; '.join(found.notes) or 'none made'}")
    prediction = made[0]
    life, notes = await read_life(Log(clients.transport, clients.codec, SystemClock()), project.model)
    deployment = next((one for one in life.deployments if one.epoch == prediction.epoch), None)
    sample = found.events[-1] if found.events else None
    labels = [one.sample.label for one in found.labels if one.sample.label is not None]
    base: dict[str, Any] = {
        "prediction": prediction, "sample": sample, "label": labels[-1] if labels else None,
        "corrected": len(set(labels)) > 1,
        "decided_by": deployment and deployment.decided_by, "reason": deployment and deployment.reason,
        "why": () if deployment is None else tuple(chain(life, deployment)),
    }  # fmt: skip
    inside = await _inside(clients, prediction, sample, life, deployment, store)
    return Explained(**base, **inside[0], notes=(*notes, *found.notes, *inside[1]))


async def _inside(
    clients: Clients,
    prediction: PredictionMade,
    sample: Placed | None,
    life: Life,
    deployment: DeploymentDecided | None,
    store: ArtifactStore,
) -> tuple[dict[str, Any], list[str]]:
    """What the model's file and its training rows say; and why not, where they cannot be had."""
    if sample is None:
        return {}, ["its sample is gone, so nothing can be said about its features"]
    names, row = clients.project.feature_names, np.array(sample.sample.features, np.float64)
    if len(names) != len(row):
        return {}, [f"its sample has {len(row)} features, the project has {len(names)} now"]
    told: dict[str, Any] = {"features": dict(zip(names, row.tolist(), strict=True))}
    changes = life.versions.get(prediction.version, [])
    profile, notes = await _profile(clients, changes[0].run_id if changes else None)
    if profile is None:
        return told, notes
    background = np.column_stack([profile.features[name] for name in names])
    told |= {"profile": profile, "neighbours": nearest(row, background) if len(background) > 1 else None}
    traffic = () if deployment is None else deployment.traffic
    artifact = next((part.artifact_sha256 for part in traffic if part.version == prediction.version), None)
    if artifact is None:
        return told, [*notes, f"no deployment names the file of version {prediction.version}"]
    try:
        told["added"] = attribute(_answer(store.get(artifact), prediction), row, background)
    except (MillraceError, OSError) as error:
        notes.append(f"what each feature added is not known: {error}")
    return told, notes


def _answer(content: bytes, prediction: PredictionMade) -> Any:
    """The model as a function from rows to the number that is explained."""
    from services.trainer.train.score import score  # ONNX Runtime takes a while to load

    classes = len(prediction.scores)

    def answer(rows: Floats) -> Floats:
        said = score(content, rows.astype(np.float32), classes)
        return said.probabilities[:, int(prediction.value)] if classes else said.values

    return answer


async def _profile(clients: Clients, run_id: str | None) -> tuple[Profile | None, list[str]]:
    """The training profile of a run."""
    topic = topics.TRAINING_PROFILES.suffix
    begin, end = await clients.transport.bounds(topic, 0)
    profile, notes = None, []
    async for records in clients.transport.read(topic, 0, begin, end):
        for record in records:
            try:
                event = await clients.codec.decode(TrainingProfileRecorded, record.value)
                if (event.model, event.run_id) == (clients.project.model, run_id):
                    profile = profile_of(event)
            except ContractError as error:
                notes.append(f"{topic}/0/{record.offset} was left out: {error}")
    if profile is None:
        notes.append("its version has no training profile (it is older than profiles, or imported)")
    elif missing := set(clients.project.feature_names) - set(profile.features):
        return None, [*notes, f"its version was trained without the features {sorted(missing)}"]
    return profile, notes

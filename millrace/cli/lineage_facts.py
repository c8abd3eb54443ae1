"""Reads the control topics, which are kept for ever and are small, into facts that can be asked."""

from millrace.bus.transport import Transport
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError
from millrace.contracts.events import (
    DataSnapshotTaken,
    DeploymentDecided,
    DriftDetected,
    Event,
    ModelVersionChanged,
    RetrainModel,
    ServingStatusReported,
    TrainingRunChanged,
)
from millrace.contracts.project import Project
from millrace.contracts.topics import TopicRow, topic_name
from millrace.lineage.facts import Facts

CONTROL: tuple[tuple[TopicRow, type[Event]], ...] = (
    (topics.DATA_SNAPSHOTS, DataSnapshotTaken),
    (topics.RETRAIN_REQUESTS, RetrainModel),
    (topics.DRIFT_EVENTS, DriftDetected),
    (topics.TRAINING_RUNS, TrainingRunChanged),
    (topics.MODEL_VERSIONS, ModelVersionChanged),
    (topics.DEPLOYMENTS, DeploymentDecided),
    (topics.SERVING_STATUS, ServingStatusReported),
)


async def read_facts(project: Project, transport: Transport, codec: Codec) -> tuple[Facts, list[str]]:
    """What the control topics say about the project's model, and which of their records are no events."""
    facts, notes = Facts(project.model, project.stream), []
    for row, kind in CONTROL:
        topic = topic_name(row, project)
        begin, end = await transport.bounds(topic, 0)
        async for records in transport.read(topic, 0, begin, end):
            for record in records:
                try:
                    facts.add(await codec.decode(kind, record.value))
                except ContractError as error:
                    notes.append(f"{topic}/0/{record.offset} is no {kind.__name__} and was left out: {error}")
    return facts, notes

"""Reads what an answer about lineage needs: the control topics whole, the data topics only where they must be."""

from collections.abc import Iterable
from dataclasses import replace

from millrace.bus.deadletter import why
from millrace.bus.transport import Transport
from millrace.cli.lineage_facts import read_facts
from millrace.cli.lineage_lake import LakeSamples
from millrace.cli.lineage_reach import seen_for
from millrace.cli.lineage_scan import LogScan, Progress, silent, source_needle
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import PredictionMade
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from millrace.lineage.facts import Facts, Found, Placed
from millrace.lineage.graph import Graph
from millrace.lineage.reach import Reach, Reached
from millrace.lineage.subject import LineageError, Subject, parse
from millrace.lineage.trace import affected, trace


class LineageReader:
    """Answers questions about one project's lineage. ``lake`` has the samples that retention has removed."""

    def __init__(
        self,
        project: Project,
        transport: Transport,
        codec: Codec,
        progress: Progress = silent,
        lake: LakeSamples | None = None,
    ) -> None:
        self._lake = lake
        self._project = project
        self._transport = transport
        self._codec = codec
        self._scan = LogScan(transport, codec, progress)
        self._samples = topic_name(topics.SAMPLES, project)
        self._predictions = topic_name(topics.PREDICTIONS, project)
        self._shadows = topic_name(topics.SHADOW_PREDICTIONS, project)
        self._sources = (topic_name(topics.EVENTS, project), topic_name(topics.LABELS, project))

    async def answer(self, what: str) -> Graph:
        """What came from what.

        Raises:
            LineageError: the question is not understood, or nothing is known about what it names.
        """
        subject = parse(what)
        self._check(subject)
        facts, notes = await read_facts(self._project, self._transport, self._codec)
        subject, found = await self._find(subject, facts)
        spans = {version: facts.spans(version) for version in affected(facts, subject, found)}
        counts = await self._scan.counts(self._predictions, spans)
        more = (*notes, *found.notes, *await self._scan.gone(self._predictions, spans))
        found = replace(found, counts=tuple(counts), notes=more)
        return trace(facts, subject, found)

    async def prediction(self, what: str) -> tuple[Subject, Found]:
        """The prediction of that id or place, or those of an event: with the sample and all labels known for it.

        Raises:
            LineageError: it is none of these, or nothing is known about it.
        """
        subject = parse(what)
        self._check(subject)
        if subject.kind not in {"prediction", "place", "event"}:
            raise LineageError(f"{what} is a {subject.kind}, no prediction; give a prediction id or event:ID")
        facts, _ = await read_facts(self._project, self._transport, self._codec)
        subject, found = await self._find(subject, facts)
        if found.events and not found.labels:
            event = found.events[-1]
            _, labels = await self._of_id(event.partition, event.sample.event_id, below=event.offset)
            found = replace(found, labels=tuple(labels))
        return subject, found

    def _check(self, subject: Subject) -> None:
        """The topic is one that can be asked about, and has the partition."""
        if subject.kind == "prediction":
            model = subject.name.partition("/")[0]
            if (model, subject.topic) != (self._project.model, self._samples):
                raise LineageError(
                    f"{subject.name} is of model {model!r} and topic {subject.topic!r}; this project's predictions are "
                    f"{self._project.model}/{self._samples}/<partition>/<offset>"
                )
        known = (self._samples, self._predictions, self._shadows, *self._sources)
        if subject.kind == "place" and subject.topic not in known:
            raise LineageError(
                f"{subject.topic!r} has no lineage of single records; give a place in one of {list(known)}"
            )
        if subject.kind in {"prediction", "place"} and subject.partition >= self._project.partitions:
            raise LineageError(
                f"{subject.name}: {subject.topic} has no partition {subject.partition}, it has "
                f"{self._project.partitions}, counted from 0"
            )

    async def _find(self, subject: Subject, facts: Facts) -> tuple[Subject, Found]:
        match subject.kind:
            case "prediction":
                return subject, await self._of_prediction(subject, facts)
            case "event":
                return subject, await self._of_event(subject)
            case "place" if subject.topic in {self._predictions, self._shadows}:
                record = await self._scan.at(subject.topic, subject.partition, subject.offset)
                if record is None:
                    raise await self._no_record(subject)
                made = await self._codec.decode(PredictionMade, record.value)
                subject = parse(made.prediction_id)
                return subject, await self._of_prediction(subject, facts)
            case "place":
                return subject, await self._of_place(subject)
            case _:
                return subject, Found()

    async def _of_prediction(self, subject: Subject, facts: Facts) -> Found:
        partition, offset = subject.partition, subject.offset
        made = await self._scan.predictions_of(self._predictions, partition, offset)
        if all(one.prediction_id != subject.name for one in made):  # what a version said beside the one that answered
            made += await self._scan.predictions_of(self._shadows, partition, offset)
        sample = await self._sample_at(partition, offset)
        events = () if sample is None or sample.sample.kind == "LABEL" else (sample,)
        if any(one.prediction_id == subject.name for one in made):
            gone = () if events else (f"{self._samples}/{partition}/{offset} is gone: neither log nor lake has it",)
            return Found(events=events, predictions=tuple(made), notes=gone)
        oldest = await self._scan.oldest_prediction(self._predictions, partition)
        removed = oldest is not None and oldest.sample_offset > offset
        if removed and (sample is None or events) and facts.scored_by(partition, offset):
            note = f"{subject.name} is gone: retention has removed it; what scored it is known from serving-status"
            return Found(events=events, notes=(note,))
        begin, end = await self._transport.bounds(self._predictions, partition)
        raise LineageError(
            f"no prediction {subject.name}: looked through {self._predictions}/{partition}, offsets {begin} to "
            f"{end - 1}; " + await self._why_none(subject, sample, made)
        )

    async def _why_none(self, subject: Subject, sample: Placed | None, made: Iterable[PredictionMade]) -> str:
        if ids := [one.prediction_id for one in made]:
            return f"of that sample there are {ids}"
        if sample is None:
            begin, end = await self._transport.bounds(self._samples, subject.partition)
            return f"there is no sample either, {self._samples}/{subject.partition} has offsets {begin} to {end - 1}"
        if sample.sample.kind == "LABEL":
            return (
                f"the sample there is the label of {sample.sample.event_id!r}; ask for event:{sample.sample.event_id}"
            )
        return "the sample is there, not scored: it is from before the first deployment, or waits; see millrace status"

    async def _of_event(self, subject: Subject) -> Found:
        events: list[Placed] = []
        labels: list[Placed] = []
        for partition in range(self._project.partitions):
            more = await self._of_id(partition, subject.name, below=None)
            events += more[0]
            labels += more[1]
        if not events and not labels:
            raise await self._unknown_event(subject, f"looked through {self._samples}, all partitions")
        return await self._with_predictions(events, labels)

    async def _of_place(self, subject: Subject) -> Found:
        if subject.topic == self._samples:
            sample = await self._sample_at(subject.partition, subject.offset)
            if sample is None:
                raise await self._no_record(subject)
        else:
            sample = await self._from_source(subject)
            if sample is None:
                looked = f"looked through {self._samples}/{subject.partition} for its sample"
                raise await self._unknown_event(subject, looked)
        found = await self._of_id(subject.partition, sample.sample.event_id, below=sample.offset)
        return await self._with_predictions(*found)

    async def _from_source(self, subject: Subject) -> Placed | None:
        needle = source_needle(subject.topic, subject.partition, subject.offset)
        async for placed in self._scan.samples(self._samples, subject.partition, needle):
            sample = placed.sample
            if f"{sample.source_topic}/{sample.source_partition}/{sample.source_offset}" == subject.name:
                return placed
        removed = await self._removed(subject.partition)
        if self._lake is None or removed == 0:
            return None
        found = await self._lake.of_source(subject.topic, subject.partition, subject.offset, removed)
        return found[0] if found else None

    async def _of_id(self, partition: int, event_id: str, below: int | None) -> tuple[list[Placed], list[Placed]]:
        """The event and the labels of an id, from the end back to the event; ``below`` is where it is at the latest."""
        events, labels = [], []
        async for placed in self._scan.samples(self._samples, partition, event_id.encode()):
            if placed.sample.event_id != event_id:
                continue
            if placed.sample.kind == "LABEL":
                labels.append(placed)
            elif below is None or placed.offset <= below:
                events.append(placed)
                break
        removed = await self._removed(partition)
        if events or self._lake is None or removed == 0:
            return events, labels[::-1]
        earlier = await self._lake.of_id(partition, event_id, removed)
        events = [one for one in earlier if one.sample.kind == "EVENT" and (below is None or one.offset <= below)][-1:]
        return events, [one for one in earlier if one.sample.kind == "LABEL"] + labels[::-1]

    async def _removed(self, partition: int) -> int:
        """The offset below which retention has removed the samples from the log."""
        return (await self._transport.bounds(self._samples, partition)).begin

    async def _with_predictions(self, events: list[Placed], labels: list[Placed]) -> Found:
        made: list[PredictionMade] = []
        notes = []
        for event in events:
            of_event = await self._scan.predictions_of(self._predictions, event.partition, event.offset)
            made += of_event
            if not of_event:
                notes.append(
                    f"no prediction of {self._samples}/{event.partition}/{event.offset} is in {self._predictions}: it "
                    "is from before the first deployment, waits, or retention has removed it"
                )
        if not events:
            notes.append(f"the event itself is not in {self._samples} any more, nor in the lake")
        reached = [await self._reached(event) for event in events]
        if any(event.sample.feature_set != self._project.feature_set for event in events):
            notes.append("recorded under other features: which later samples look back is judged by the present ones")
        return Found(tuple(events), tuple(labels), tuple(made), reached=tuple(reached), notes=tuple(notes))

    async def _reached(self, event: Placed) -> Reached:
        """Later samples of the event's entity that may have seen it, by the project's present features."""
        reach = Reach(event.sample.event_id, *seen_for(self._project.features))
        removed, entity = await self._removed(event.partition), event.sample.entity
        earlier: list[Placed] = []
        if self._lake is not None and event.offset < removed:
            earlier = await self._lake.of_entity(event.partition, entity, event.offset + 1, removed)
        if all(reach.take(one.offset, one.sample.kind, one.sample.event_id) for one in earlier):
            await self._scan.reach(self._samples, event, reach)
        offsets = tuple(reach.offsets)
        made = await self._scan.predicted(self._predictions, event.partition, offsets)
        return Reached(event.partition, event.offset, entity, offsets, made)

    async def _sample_at(self, partition: int, offset: int) -> Placed | None:
        record = await self._scan.at(self._samples, partition, offset)
        if record is not None:
            return await self._scan.placed(record)
        if self._lake is not None and offset < await self._removed(partition):
            return await self._lake.at(partition, offset)
        return None

    async def _no_record(self, subject: Subject) -> LineageError:
        begin, end = await self._transport.bounds(subject.topic, subject.partition)
        return LineageError(
            f"{subject.topic}/{subject.partition} has no record at offset {subject.offset}; its offsets are {begin} to "
            f"{end - 1}, with gaps where transactions ended"
        )

    async def _unknown_event(self, subject: Subject, looked: str) -> LineageError:
        """Nothing came of it; perhaps it was refused."""
        letters = topic_name(topics.DEAD_LETTERS, self._project)
        for partition in range(self._project.partitions):
            async for record in self._scan.backwards(letters, partition):
                told = why(record)
                origin = f"{told['topic']}/{told['partition']}/{told['offset']}"
                by_id = subject.kind == "event" and subject.name.encode() in (record.value or b"")
                if by_id or origin == subject.name:
                    return LineageError(
                        f"{_named(subject)} became no sample: it was refused ({told['reason']}: {told['message']}), "
                        f"see millrace dead-letters show PROJECT {record.partition}/{record.offset}"
                    )
        return LineageError(
            f"nothing came of {_named(subject)}: {looked}, and through {letters}; it may wait to be taken in, be a "
            "duplicate, or be older than what log and lake have"
        )


def _named(subject: Subject) -> str:
    return f"event {subject.name!r}" if subject.kind == "event" else subject.name

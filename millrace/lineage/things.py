"""The things of an answer, each with the facts that the events say about it. Pure."""

from millrace.contracts import topics
from millrace.contracts.events import DataSnapshotTaken, DeploymentDecided, PredictionMade, TrainingRunChanged
from millrace.lineage.facts import Facts, Placed, hashes
from millrace.lineage.graph import Graph
from millrace.lineage.reach import Reached


class Things:
    """Adds things to a graph. Every method gives the id of what it added."""

    def __init__(self, facts: Facts, graph: Graph) -> None:
        self.facts = facts
        self.graph = graph
        self._samples = topics.SAMPLES.name(stream=facts.stream, model=facts.model)

    def version(self, number: int) -> str:
        """A version by itself."""
        changes = self.facts.versions.get(number, [])
        newest = changes[-1] if changes else None
        return self.graph.add(
            "version",
            str(number),
            f"version {number} of {self.facts.model}" + ("" if newest is None else f" ({newest.status})"),
            version=number,
            status=None if newest is None else newest.status,
            run_id=None if newest is None else newest.run_id,
            artifact_sha256=None if newest is None else newest.artifact_sha256,
            feature_set=None if newest is None else newest.feature_set,
            reasons=[] if newest is None else list(newest.reasons),
        )

    def deployment(self, decided: DeploymentDecided) -> str:
        """A decision about traffic: by whom, and why."""
        return self.graph.add(
            "deployment",
            decided.deployment_id,
            f"deployment {decided.deployment_id} (epoch {decided.epoch})",
            epoch=decided.epoch,
            traffic=[[part.version, part.variant, part.share] for part in decided.traffic],
            reason=decided.reason,
            decided_by=decided.decided_by,
            decided_at_ms=decided.decided_at_ms,
            caused_by=decided.caused_by,
        )

    def snapshot(self, snapshot: DataSnapshotTaken) -> str:
        """A snapshot, with the table that holds its rows."""
        name = self.graph.add(
            "snapshot",
            snapshot.snapshot_id,
            f"snapshot {snapshot.snapshot_id}",
            ranges=[part.model_dump() for part in snapshot.ranges],
            rows=snapshot.rows,
            labelled_rows=snapshot.labelled_rows,
            table_version=snapshot.table_version,
            content_sha256=snapshot.content_sha256,
            taken_at_ms=snapshot.taken_at_ms,
        )
        if snapshot.table_version is not None:
            self.graph.connect(self.table(snapshot.table_version), name, "holds its rows")
        return name

    def table(self, version: int) -> str:
        """A version of the lake's table."""
        title = f"lake table of {self.facts.stream}, version {version}"
        return self.graph.add("table", str(version), title, table_version=version)

    def prediction(self, made: PredictionMade) -> str:
        """A prediction whose record was read."""
        fields = made.model_dump(
            include={"version", "variant", "epoch", "value", "label", "predicted_at_ms", "event_id", "entity"}
        )
        return self.graph.add("prediction", made.prediction_id, f"prediction {made.prediction_id}", **fields)

    def sample(self, placed: Placed) -> str:
        """A sample."""
        place, sample = f"{self._samples}/{placed.partition}/{placed.offset}", placed.sample
        fields = sample.model_dump(include={"event_id", "entity", "time_ms", "feature_set", "label", "flags"})
        title = f"sample {place}" + (" (a label)" if sample.kind == "LABEL" else "")
        return self.graph.add("sample", place, title, place=place, sample_kind=sample.kind, **fields)

    def sourced(self, placed: Placed) -> str:
        """A sample with the record that it came from. Gives the record's id, or the sample's if that was asked for."""
        sample = placed.sample
        place = f"{sample.source_topic}/{sample.source_partition}/{sample.source_offset}"
        kind = "event" if sample.kind == "EVENT" else "label"
        title = f"{kind} {sample.event_id} at {place}"
        source = self.graph.add(
            kind, place, title, event_id=sample.event_id, place=place, source_time_ms=sample.source_time_ms
        )
        self.graph.connect(source, self.sample(placed), "became")
        return source

    def run(self, run: TrainingRunChanged) -> str:
        """A run, with the hashes of all that its result depends on."""
        return self.graph.add(
            "run",
            run.run_id,
            f"run {run.run_id} ({run.status})",
            run_id=run.run_id,
            status=run.status,
            trigger=run.trigger,
            caused_by=run.caused_by,
            **hashes(run),
            train_rows=run.train_rows,
            holdout_rows=run.holdout_rows,
            table_version=run.table_version,
            snapshot_id=run.snapshot_id,
            artifact_sha256=run.artifact_sha256,
            champion_version=run.champion_version,
            error=run.error,
            changed_at_ms=run.changed_at_ms,
        )

    def reached(self, reached: Reached) -> str:
        """Later samples whose features may look back at an event, with how many predictions were made of them."""
        count = len(reached.offsets)
        return self.graph.add(
            "reached",
            f"{reached.partition}/{reached.event_offset}",
            f"{count:,} later samples of entity {reached.entity!r}",
            entity=reached.entity,
            partition=reached.partition,
            samples=count,
            from_offset=reached.offsets[0],
            until_offset=reached.offsets[-1] + 1,
            predictions={str(version): rows for version, rows in reached.predictions},
        )

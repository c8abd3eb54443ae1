"""Draws the answer: facts and what was read -> what came from what. Pure.

Backward, a prediction comes from a sample, a version and a deployment; a version from its run; a run from its rows, the
snapshots and the lake's table that hold them, and from what asked for it. Forward, an event leads to samples, these to
predictions and to the runs that have them as rows, and a run leads to a version and all of the version's predictions.
"""

from collections.abc import Iterable

from millrace.contracts.events import TrainingRunChanged
from millrace.lineage.facts import Facts, Found, holds
from millrace.lineage.graph import Graph
from millrace.lineage.reach import Reached
from millrace.lineage.subject import LineageError, Subject
from millrace.lineage.things import Things


def affected(facts: Facts, subject: Subject, found: Found) -> list[int]:
    """The versions whose predictions the answer counts: those that the subject led to."""
    match subject.kind:
        case "version":
            return [subject.version]
        case "run":
            runs: Iterable[str] = [subject.name]
        case "event" | "place":
            touched = [*facts.trained_on(found), *(run for one in found.reached for run in facts.holding(one))]
            runs = [run.run_id for run in touched]
        case "prediction":
            runs = []
    return sorted({number for run_id in runs if (number := facts.version_of(run_id)) is not None})


def trace(facts: Facts, subject: Subject, found: Found) -> Graph:
    """The whole answer.

    Raises:
        LineageError: the control topics do not know the subject.
    """
    drawing = _Drawing(facts, found)
    match subject.kind:
        case "prediction":
            drawing.graph.subject = drawing.prediction_back(subject)
        case "run":
            drawing.graph.subject = drawing.run(_known_run(facts, subject), back=True, forward=True)
        case "version":
            run_id = _run_of(facts, subject)
            drawing.graph.subject = drawing.things.version(subject.version)
            drawing.run_by_id(run_id, subject.version)
            drawing.version_forward(subject.version)
        case "event" | "place":
            drawing.graph.subject = drawing.event_forward(subject)
    for note in found.notes:
        drawing.graph.note(note)
    return drawing.graph


def _known_run(facts: Facts, subject: Subject) -> TrainingRunChanged:
    run = facts.runs.get(subject.name)
    if run is None:
        newest = list(facts.runs)[-3:]
        raise LineageError(
            f"no run {subject.name} of model {facts.model}: looked through training-runs, which has {len(facts.runs)} "
            f"of it, the newest are {newest}; millrace data list shows all"
        )
    return run


def _run_of(facts: Facts, subject: Subject) -> str:
    changes = facts.versions.get(subject.version)
    if changes is None:
        raise LineageError(
            f"no version {subject.version} of model {facts.model}: looked through model-versions, which has "
            f"{sorted(facts.versions)} of it; millrace models shows them"
        )
    return changes[0].run_id


class _Drawing:
    """A graph in the making. Every method adds a thing with what it came from or led to."""

    def __init__(self, facts: Facts, found: Found) -> None:
        self.facts = facts
        self.found = found
        self.graph = Graph()
        self.things = Things(facts, self.graph)

    def prediction_back(self, subject: Subject) -> str:
        """A prediction and all that it came from."""
        made = next((one for one in self.found.predictions if one.prediction_id == subject.name), None)
        scored = self.facts.scored_by(subject.partition, subject.offset)
        if made is not None:
            scored = [(made.version, made.epoch)]
            name = self.things.prediction(made)
        else:
            name = self.graph.add("prediction", subject.name, f"prediction {subject.name} (its record is gone)")
        for event in self.found.events:
            self.things.sourced(event)
            self.graph.connect(self.things.sample(event), name, "made from")
        for version, epoch in scored:
            self.graph.connect(self.things.version(version), name, "scored by")
            if epoch in self.facts.deployments:
                self.graph.connect(self.things.deployment(self.facts.deployments[epoch]), name, "in force")
            if version in self.facts.versions:
                self.run_by_id(self.facts.versions[version][0].run_id, version)
            else:
                self.graph.note(f"model-versions has no version {version}: its records are missing")
        return name

    def event_forward(self, subject: Subject) -> str:
        """An event, or a label, and all that came from it."""
        names = [self.things.sourced(placed) for placed in (*self.found.events, *self.found.labels)]
        runs = self.facts.trained_on(self.found)
        for event in self.found.events:
            for made in self.found.predictions:
                if (made.sample_partition, made.sample_offset) == (event.partition, event.offset):
                    self.graph.connect(self.things.sample(event), self.things.prediction(made), "scored as")
            if event.sample.flags:
                self.graph.note(f"the event is flagged ({event.sample.flags}): it is scored and never trained on")
        for run in runs:
            drawn = self.run(run, back=False, forward=True)
            for placed in (*self.found.events, *self.found.labels):
                how = "a row of" if placed.sample.kind == "EVENT" else "the label of a row of"
                if any(holds(part, placed.partition, placed.offset) for part in run.ranges):
                    self.graph.connect(self.things.sample(placed), drawn, how)
        for reached in self.found.reached:
            self._reach(reached)
        asked = [node.id for node in self.graph.nodes.values() if node.facts.get("place") == subject.name]
        return (asked or names)[0]

    def _reach(self, reached: Reached) -> None:
        """Later samples that may have seen the event through their features, and what came of them."""
        if not reached.offsets:
            return
        later = self.things.reached(reached)
        for event in self.found.events:
            if (event.partition, event.offset) == (reached.partition, reached.event_offset):
                self.graph.connect(self.things.sample(event), later, "may be looked back at by the features of")
        for run in self.facts.holding(reached):
            self.graph.connect(later, self.run(run, back=False, forward=True), "may be rows of")

    def run(self, run: TrainingRunChanged, *, back: bool, forward: bool) -> str:
        """A run; what it came from, what it led to."""
        name = self.things.run(run)
        if back:
            self._run_back(run, name)
        if forward:
            self._run_forward(run, name)
        return name

    def run_by_id(self, run_id: str, version: int) -> str | None:
        """The run behind a version, with what it came from."""
        run = self.facts.runs.get(run_id)
        if run is None:
            self.graph.note(f"training-runs has no {run_id}, which made version {version}: its records are missing")
            return None
        name = self.run(run, back=True, forward=False)
        self.graph.connect(name, self.things.version(version), "became")
        return name

    def _run_back(self, run: TrainingRunChanged, name: str) -> None:
        for part in run.ranges:
            place = f"{part.topic}/{part.partition}/{part.from_offset}-{part.until_offset}"
            left_out = [one for one in run.excluded if (one.topic, one.partition) == (part.topic, part.partition)]
            rows = self.graph.add(
                "rows",
                place,
                f"offsets {part.from_offset} to {part.until_offset - 1} of {part.topic}/{part.partition}",
                **part.model_dump(),
                excluded=[[one.from_offset, one.until_offset] for one in left_out],
            )
            self.graph.connect(rows, name, "trained and judged on")
        if run.table_version is not None:
            self.graph.connect(self.things.table(run.table_version), name, "the same rows in the lake")
        for snapshot, how in self.facts.snapshots_of(run):
            self.graph.connect(self.things.snapshot(snapshot), name, how)
        self._cause(run.caused_by, name)

    def _cause(self, caused_by: str, name: str) -> None:
        """What asked for a run: a snapshot, or a request and the drift behind it."""
        request = self.facts.requests.get(caused_by)
        if caused_by in self.facts.snapshots:
            self.graph.connect(self.things.snapshot(self.facts.snapshots[caused_by]), name, "asked for by")
        elif request is not None:
            fields = request.model_dump(include={"reason", "message", "requested_by", "requested_at_ms"})
            asked = self.graph.add("request", caused_by, f"request {caused_by}", **fields)
            self.graph.connect(asked, name, "asked for by")
            drift = self.facts.drifts.get(request.caused_by or "")
            if drift is not None:
                seen = drift.model_dump(
                    include={"detector", "subject", "severity", "before", "after", "detected_at_ms"}
                )
                found = self.graph.add("drift", drift.drift_id, f"drift {drift.drift_id}", **seen)
                self.graph.connect(found, asked, "because of")

    def _run_forward(self, run: TrainingRunChanged, name: str) -> None:
        version, refused = self.facts.version_of(run.run_id), self.facts.rejected.get(run.run_id)
        if version is not None:
            self.graph.connect(name, self.things.version(version), "became")
            self.version_forward(version)
        elif refused is not None:
            facts = {"reasons": list(refused.reasons), "changed_at_ms": refused.changed_at_ms}
            self.graph.connect(name, self.graph.add("rejection", run.run_id, "rejected", **facts), "was")

    def version_forward(self, number: int) -> None:
        """The deployments of a version, and the predictions that it made."""
        name = self.things.version(number)
        for decided in self.facts.deployed(number):
            self.graph.connect(name, self.things.deployment(decided), "deployed by")
        spans = self.facts.spans(number)
        for count in self.found.counts:
            if count.version == number:
                scored = self.graph.add(
                    "predictions",
                    f"{number}/{count.partition}",
                    f"{count.rows:,} predictions of version {number} in partition {count.partition}",
                    **count._asdict(),
                    spans=[
                        [span.from_offset, span.until_offset] for span in spans if span.partition == count.partition
                    ],
                )
                self.graph.connect(name, scored, "made")

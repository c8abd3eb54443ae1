"""What is measured of the answers of one partition: how long they took, what they said, and which are traced."""

from collections.abc import Sequence

import numpy as np

from millrace.bus.context import Context
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.events import DeploymentDecided
from millrace.contracts.topics import topic_name
from millrace.telemetry import loop_spans
from millrace.telemetry.event_spans import Answered, Sampled, predicted
from millrace.telemetry.metrics import EVENT_TO_PREDICTION_SECONDS, PREDICTION_SCORE, PREDICTION_VALUE, PREDICTIONS
from services.serving.batch import Answer, Answers, Server

SCORES = 500  # of a micro-batch whose distribution is shown


class Observed:
    """One partition's answers. ``trace_id`` is that of a sampled event in the micro-batch in hand."""

    def __init__(self, context: Context, number: int) -> None:
        self._context = context
        self._number = number
        self._samples = topic_name(topics.SAMPLES, context.project)
        self._sampled: list[Sampled] = []
        self._answered: tuple[Answers, Server, int] | None = None
        self._first: tuple[DeploymentDecided, bytes] | None = None
        self._first_offset: int | None = None
        self.trace_id: str | None = None

    def takes_over(self, deployment: DeploymentDecided, context: bytes | None) -> None:
        """The next events that are answered are the first ones under this deployment, which has this trace."""
        self._first = None if context is None else (deployment, context)
        self._first_offset = None

    def answered(
        self, events: Sequence[Record], sampled: list[Sampled], answer: Answer, server: Server, began_ms: int
    ) -> None:
        """These events were answered, the sampled ones among them."""
        model, said = server.name, answer.said
        self._sampled = sampled
        self.trace_id = self._sampled[0].trace_id if self._sampled else None
        traces = {one.row: one.trace_id for one in self._sampled}
        EVENT_TO_PREDICTION_SECONDS.observe(model, answer.waited_ms / 1000, traces=traces, at_s=began_ms / 1000)
        if said is not None and events:
            self._answered = (said, server, len(events))
            if self._first is not None and self._first_offset is None:
                self._first_offset = events[0].offset
            distribution(model, server.classes, said)

    def written(self) -> None:
        """They are committed."""
        sampled, answered, traces = self._sampled, self._answered, self._context.traces
        self._sampled, self._answered, self.trace_id = [], None, None
        if not traces.on or answered is None:
            return
        end_ms = self._context.clock.now_ms()
        if self._first is not None and self._first_offset is not None:
            deployment, context = self._first
            traces.add(
                loop_spans.served(deployment, context, partition=self._number, offset=self._first_offset, now_ms=end_ms)
            )
            self._first = None
        said, server, rows = answered
        place = f"{server.name}/{self._samples}/{self._number}"
        traces.put(
            len(sampled),
            lambda: predicted(
                sampled, [_by(said, one, place) for one in sampled], model=server.name, epoch=server.epoch, rows=rows,
                end_ms=end_ms,
            ),
        )  # fmt: skip


def distribution(model: str, classes: Sequence[str], said: Answers) -> None:
    """Count what was answered, by version and class, and how sure it was."""
    versions = [said.version] if isinstance(said.version, int) else np.unique(said.version).tolist()
    for version in versions:
        its = slice(None) if isinstance(said.version, int) else said.version == version
        values, scores, label = said.scored.values[its], said.scored.scores[its], (model, str(version))
        if not classes:
            PREDICTIONS.labels(*label, "").inc(len(values))
            PREDICTION_VALUE.observe(label, values[np.isfinite(values)])
            continue
        known = (values >= 0) & (values < len(classes))  # NaN is not
        counts = np.bincount(values[known].astype(np.int64), minlength=len(classes))
        for name, count in zip(classes, counts.tolist(), strict=True):
            PREDICTIONS.labels(*label, name).inc(count)
        sure = scores[:, 1] if len(classes) == 2 else scores.max(axis=1, initial=0.0)
        few = sure[:: max(1, -(-len(sure) // SCORES))]
        PREDICTION_SCORE.observe(label, few[np.isfinite(few)], weight=len(sure) / max(1, len(few)))


def _by(said: Answers, one: Sampled, place: str) -> Answered:
    version, variant = said.by(one.row)
    ending = "" if variant == "champion" else f"/{variant}"
    return Answered(f"{place}/{one.record.offset}{ending}", version, variant)

"""How much goes along each edge of the loop. Data topics are counted by the services, control topics by our reading."""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from millrace.contracts import topics
from millrace.contracts.topics import TopicRow

WINDOW_S = 60.0


class Edge(NamedTuple):
    """Who writes a topic and who is meant to read it; ``counted`` names the service and direction that count it."""

    source: str
    target: str
    row: TopicRow
    counted: tuple[str, str] | None = None


EDGES = (
    Edge("upstream", "ingest", topics.EVENTS, ("ingest", "in")),
    Edge("upstream", "ingest", topics.LABELS, ("ingest", "in")),
    Edge("ingest", "serving", topics.SAMPLES, ("serving", "in")),
    Edge("ingest", "operators", topics.DEAD_LETTERS),
    Edge("ingest", "trainer", topics.DATA_SNAPSHOTS),
    Edge("ingest", "trainer", topics.DATA_QUALITY),
    Edge("serving", "downstream", topics.PREDICTIONS, ("serving", "out")),
    Edge("serving", "monitor", topics.OBSERVATIONS, ("monitor", "in")),
    Edge("serving", "registry", topics.SERVING_STATUS),
    Edge("monitor", "trainer", topics.RETRAIN_REQUESTS),
    Edge("monitor", "registry", topics.ROLLOUT_EVIDENCE),
    Edge("monitor", "operators", topics.MODEL_METRICS),
    Edge("monitor", "operators", topics.DRIFT_EVENTS),
    Edge("trainer", "registry", topics.TRAINING_RUNS),
    Edge("registry", "serving", topics.DEPLOYMENTS),
    Edge("registry", "operators", topics.MODEL_VERSIONS),
    Edge("operators", "registry", topics.REGISTRY_REQUESTS),
)


class Pulse:
    """How many records of a topic came in the last minute."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, deque[tuple[float, int]]] = defaultdict(deque)
        self._totals: defaultdict[str, int] = defaultdict(int)
        self._last_ms: dict[str, int] = {}

    def count(self, topic: str, records: int, now_s: float, at_ms: int) -> None:
        """So many have come now; the last has that log time."""
        self._counts[topic].append((now_s, records))
        self._totals[topic] += records
        self._last_ms[topic] = at_ms

    def rate(self, topic: str, now_s: float) -> float:
        """Records a second, over the last minute."""
        counts = self._counts[topic]
        while counts and counts[0][0] <= now_s - WINDOW_S:
            counts.popleft()
        return sum(records for _, records in counts) / WINDOW_S

    def total(self, topic: str) -> int:
        """How many have come since this process began."""
        return self._totals[topic]

    def last_ms(self, topic: str) -> int | None:
        """Log time of the last; None if there was none."""
        return self._last_ms.get(topic)


Counted = Mapping[tuple[str, str, str], tuple[float, float]]
"""Records a second, and in all, by service, direction (in, out) and topic."""


def flows(names: Mapping[str, str], pulse: Pulse, counted: Counted, now_s: float) -> Iterator[dict[str, Any]]:
    """The edges of the loop for each model; ``names`` maps models to streams."""
    seen = set()
    for model, stream in names.items():
        for edge in EDGES:
            topic = edge.row.name(stream=stream, model=model)
            if (edge.source, edge.target, topic) in seen:
                continue
            seen.add((edge.source, edge.target, topic))
            rate, total = _counted(edge, topic, pulse, counted, now_s)
            yield {
                "source": edge.source,
                "target": edge.target,
                "topic": topic,
                "records_per_s": rate,
                "records_total": total,
                "last_at_ms": pulse.last_ms(topic),
            }


def _counted(edge: Edge, topic: str, pulse: Pulse, counted: Counted, now_s: float) -> tuple[float | None, float | None]:
    if edge.counted is None:
        return pulse.rate(topic, now_s), pulse.total(topic)
    for name in (topic, edge.row.suffix):
        found = counted.get((*edge.counted, name))
        if found is not None:
            return found
    return None, None

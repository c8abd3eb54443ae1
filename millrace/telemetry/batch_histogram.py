"""A Prometheus histogram that takes in a whole micro-batch at once."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.registry import Collector

Key = tuple[str, ...]


class BatchHistogram(Collector):
    """Like ``prometheus_client.Histogram``, but ``observe`` takes many values: 20 ns each, not 1 us.

    Args:
        name: of the metric, with its unit.
        documentation: what is measured.
        labels: the names of the labels; one name may stand alone.
        buckets: upper bounds, ascending; one without bound is added.
        registry: where it is exposed.

    >>> seconds = BatchHistogram("seconds", "For example.", "model", (0.1, 1.0), registry=CollectorRegistry())
    >>> seconds.observe("m", [0.05, 0.1, 5.0])
    >>> [
    ...     (sample.labels["le"], sample.value)
    ...     for sample in next(iter(seconds.collect())).samples
    ...     if "le" in sample.labels
    ... ]
    [('0.1', 2.0), ('1.0', 2.0), ('+Inf', 3.0)]
    """

    def __init__(
        self, name: str, documentation: str, labels: str | Sequence[str], buckets: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:  # fmt: skip
        self.name = name
        self.documentation = documentation
        self.labelnames: Key = (labels,) if isinstance(labels, str) else tuple(labels)
        self._bounds = np.array(buckets, dtype=np.float64)
        self._lock = threading.Lock()  # ingest measures in threads, one for each partition
        self._counts: dict[Key, NDArray[np.float64]] = {}
        self._sums: dict[Key, float] = {}
        self._exemplars: dict[Key, dict[int, Exemplar]] = {}
        registry.register(self)

    @property
    def label(self) -> str:
        """The first label."""
        return self.labelnames[0]

    def observe(
        self, labels: str | Key, observed: ArrayLike, *, weight: float = 1.0,
        traces: Mapping[int, str] = MappingProxyType({}), at_s: float | None = None,
    ) -> None:  # fmt: skip
        """Count the observed values under these values of the labels.

        Args:
            labels: in the order of the names.
            observed: the values.
            weight: how many each of them stands for; counts are rounded, so that readers who want whole numbers agree.
            traces: by place in ``observed``, the trace of those that have one. The newest of each bucket is shown.
            at_s: when they were observed, in seconds since 1970.
        """
        key = (labels,) if isinstance(labels, str) else labels
        observations = np.asarray(observed, dtype=np.float64)
        places = np.searchsorted(self._bounds, observations, side="left")  # a bucket includes its upper bound
        below = np.cumsum(np.bincount(places, minlength=len(self._bounds) + 1))
        counts = np.diff(np.rint(below * weight), prepend=0.0)  # whole numbers, whose total is right
        with self._lock:
            self._counts[key] = self._counts.get(key, np.zeros_like(counts)) + counts
            self._sums[key] = self._sums.get(key, 0.0) + float(observations.sum()) * weight
            for place, trace_id in traces.items():
                newest = Exemplar({"trace_id": trace_id}, float(observations[place]), at_s)
                self._exemplars.setdefault(key, {})[int(places[place])] = newest

    def remove(self, *labels: str) -> None:
        """Forget what was counted under these values of the labels."""
        with self._lock:
            for kept in (self._counts, self._sums, self._exemplars):
                kept.pop(labels, None)

    def keys(self) -> list[Key]:
        """The values of the labels that there are."""
        with self._lock:
            return list(self._counts)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Called by the registry when metrics are asked for."""
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.labelnames)
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        with self._lock:
            for key, counts in self._counts.items():
                shown = self._exemplars.get(key, {})
                totals = np.cumsum(counts, dtype=np.float64).tolist()
                buckets = [
                    (bound, total, shown.get(place))
                    for place, (bound, total) in enumerate(zip(bounds, totals, strict=True))
                ]
                family.add_metric(key, cast(list[tuple[str, float, Exemplar]], buckets), sum_value=self._sums[key])
        yield family

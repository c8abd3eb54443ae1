"""A Prometheus histogram that takes in a whole micro-batch at once."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class BatchHistogram(Collector):
    """Like ``prometheus_client.Histogram`` with one label, but ``observe`` takes many values: 20 ns each, not 1 us.

    Args:
        name: of the metric, with its unit.
        documentation: what is measured.
        label: the name of the one label.
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
        self, name: str, documentation: str, label: str, buckets: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:  # fmt: skip
        self.name = name
        self._documentation = documentation
        self.label = label
        self._bounds = np.array(buckets, dtype=np.float64)
        self._counts: dict[str, NDArray[np.int64]] = {}
        self._sums: dict[str, float] = {}
        registry.register(self)

    def observe(self, value: str, observed: ArrayLike) -> None:
        """Count the observed values under this value of the label."""
        observations = np.asarray(observed, dtype=np.float64)
        places = np.searchsorted(self._bounds, observations, side="left")  # a bucket includes its upper bound
        counts = np.bincount(places, minlength=len(self._bounds) + 1)
        self._counts[value] = self._counts.get(value, np.zeros_like(counts)) + counts
        self._sums[value] = self._sums.get(value, 0.0) + float(observations.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Called by the registry when metrics are asked for."""
        family = HistogramMetricFamily(self.name, self._documentation, labels=[self.label])
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for value, counts in list(self._counts.items()):
            totals = np.cumsum(counts, dtype=np.float64).tolist()
            family.add_metric([value], list(zip(bounds, totals, strict=True)), sum_value=self._sums[value])
        yield family

"""The metrics that ``metrics.py`` declares, as data: for the documentation, and for whoever checks a query."""

from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

from millrace.telemetry import metrics
from millrace.telemetry.batch_histogram import BatchHistogram

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric. ``constant`` is its name in ``metrics.py``, ``name`` what is asked for: with ``_total`` or ``_info``.

    ``family`` is the name without that.
    """

    constant: str
    family: str
    kind: str
    labels: tuple[str, ...]
    help: str

    @property
    def name(self) -> str:
        """As in a query; a histogram's is that of its family."""
        return self.family if self.kind == "histogram" else self.series[0]

    @property
    def series(self) -> tuple[str, ...]:
        """The names of all its series."""
        return tuple(self.family + suffix for suffix in SUFFIXES[self.kind])

    def labels_of(self, series: str) -> frozenset[str]:
        """The labels of one of its series; what an info tells is not known here."""
        return frozenset({*self.labels, *({"le"} if series.endswith("_bucket") else ())})


def declared(module: Any = metrics) -> tuple[Declared, ...]:
    """All that a module declares, in its order.

    >>> next(one for one in declared() if one.constant == "DEAD_LETTERS").name
    'millrace_dead_letters_total'
    """
    found = []
    for constant, metric in vars(module).items():
        if isinstance(metric, BatchHistogram):
            found.append(Declared(constant, metric.name, "histogram", metric.labelnames, metric.documentation))
        elif isinstance(metric, MetricWrapperBase):
            name, labels, kind = metric._name, tuple(metric._labelnames), str(metric._type)  # noqa: SLF001  # no other way
            found.append(Declared(constant, name, kind, labels, metric._documentation))  # noqa: SLF001  # as above
    return tuple(found)

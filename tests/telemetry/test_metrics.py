"""Metrics follow Prometheus' rules, each is set somewhere, and what they cost and forget."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from millrace.contracts.events import ModelMetricsMeasured
from millrace.telemetry import counting, metrics, model_metrics
from millrace.telemetry.batch_histogram import BatchHistogram
from millrace.telemetry.catalogue import Declared, declared
from tests.telemetry.metric_rules import UNITLESS, faults, unset

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "millrace", ROOT / "services")
HELP = "Something that is counted."


def test_every_metric_follows_the_rules() -> None:
    """Prefix, base units, the unit last, _total, sentences, and labels of few values."""
    assert [] == list(faults(declared()))
    assert len(declared()) >= 55


def test_every_exception_is_needed() -> None:
    """A metric that is no more leaves no exception behind."""
    assert set(UNITLESS) <= {metric.family for metric in declared()}


def test_every_metric_is_set_somewhere() -> None:
    """With as many labels as it has; a metric that nobody sets is an empty panel."""
    assert [] == list(unset(declared(), FOLDERS))


def metric(family: str, kind: str = "gauge", labels: tuple[str, ...] = (), text: str = HELP) -> Declared:
    """A made-up one."""
    return Declared("MADE_UP", family, kind, labels, text)


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        (metric("records_in"), "a name is millrace_"),
        (metric("millrace_Records_bytes"), "a name is millrace_"),
        (metric("millrace_records_total"), "only counters end in _total"),
        (metric("millrace_wait_seconds_by_topic"), "no part of a name"),
        (metric("millrace_wait_ms"), "ms is no base unit"),
        (metric("millrace_share_percent"), "percent is no base unit"),
        (metric("millrace_seconds_waited"), "the unit comes last"),
        (metric("millrace_started_timestamp"), "ends in _timestamp_seconds"),
        (metric("millrace_wait"), "has no unit"),
        (metric("millrace_wait", "histogram"), "has no unit"),
        (metric("millrace_wait_seconds", labels=("entity",)), "label entity is not allowed"),
        (metric("millrace_wait_seconds", text=""), "help must be a sentence"),
        (metric("millrace_wait_seconds", text="no capital"), "help must be a sentence"),
    ],
)
def test_the_rules_see_what_breaks_them(planted: Declared, fault: str) -> None:
    """Each is found, and what is right is left alone."""
    found = list(faults([planted, metric("millrace_good_seconds")]))

    assert any(fault in one for one in found)
    assert all(one.startswith(planted.family) for one in found)


def test_the_same_series_twice_is_seen() -> None:
    """A histogram's too."""
    twice = [metric("millrace_a_seconds", "histogram"), metric("millrace_a_seconds_count", "info")]
    assert [] == [found for found in faults(twice) if "declared" in found]
    found = list(faults([metric("millrace_a_seconds"), metric("millrace_a_seconds")]))

    assert ["millrace_a_seconds: declared 2 times"] == found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("MADE_UP.labels('a').inc()\n", []),
        ("from m import MADE_UP\nKEPT = (MADE_UP,)\n", ["MADE_UP is set nowhere"]),
        ("MADE_UP.labels('a', 'b').inc()\n", ["it.py: MADE_UP is given 2 labels, it has 1"]),
        ("MADE_UP.labels(*several).inc()\n", []),
    ],
)
def test_a_metric_that_nobody_sets_is_seen(tmp_path: Path, source: str, expected: list[str]) -> None:
    """To import it, or to keep it in a list, is not to set it."""
    (tmp_path / "it.py").write_text(source)

    assert expected == list(unset([metric("millrace_a_total", "counter", ("model",))], [tmp_path]))


def test_the_catalogue_is_what_the_client_exposes() -> None:
    """Names, kinds and labels are those of the library, so a query can be checked against them."""

    class Module:
        """One of each kind."""

        registry = CollectorRegistry()
        A = Counter("millrace_a_total", HELP, ["model"], registry=registry)
        B = Gauge("millrace_b_bytes", HELP, registry=registry)
        C = Histogram("millrace_c_seconds", HELP, ["topic"], registry=registry)
        D = BatchHistogram("millrace_d_seconds", HELP, ("model", "version"), (1.0,), registry=registry)

    Module.A.labels("m").inc()
    Module.C.labels("t").observe(1)
    Module.D.observe(("m", "1"), [1.0])
    exposed = {
        (sample.name, frozenset(sample.labels))
        for family in Module.registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    found = declared(Module)

    assert exposed == {(series, one.labels_of(series)) for one in found for series in one.series}
    assert ["millrace_a_total", "millrace_b_bytes", "millrace_c_seconds", "millrace_d_seconds"] == [
        one.name for one in found
    ]


def test_every_metric_can_be_read_as_openmetrics() -> None:
    """By the library's own parser, which is strict."""
    from prometheus_client import REGISTRY
    from prometheus_client.openmetrics.exposition import generate_latest

    families = {family.name for family in text_string_to_metric_families(generate_latest(REGISTRY).decode())}

    assert {metric.family for metric in declared()} <= families


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 1000, 5000])
def test_sizes_are_estimated_from_a_few(rows: int) -> None:
    """Counts are exact, sums are right for records that are alike, and at most 64 are looked at."""
    topic = f"sizes-{rows}"
    looked_at = []

    class Value(bytes):
        """Notes that its size was asked for."""

        __slots__ = ()

        def __len__(self) -> int:
            looked_at.append(1)
            return 100

    counting.written("test", topic, [Value(b"x") for _ in range(rows)])
    sizes = next(iter(metrics.RECORD_BYTES.collect())).samples
    mine = {sample.name: sample.value for sample in sizes if sample.labels["topic"] == topic}

    assert len(looked_at) <= 64
    assert pytest.approx(rows) == mine["millrace_record_bytes_count"]
    assert pytest.approx(rows * 100) == mine["millrace_record_bytes_sum"]
    assert rows == metrics.RECORDS_OUT.labels("test", topic)._value.get()


def measured(version: int, **changes: object) -> ModelMetricsMeasured:
    """What the monitor measured of a version."""
    fields = {
        "metrics_id": "m", "model": "kept", "version": version, "partition": 0, "until_offset": 1, "window_rows": 1,
        "total_rows": 1, "until_time_ms": 0, "metrics": {"accuracy": 0.9, "log_loss": 0.3}, "measured_at_ms": 0,
        "low": {"accuracy": 0.8}, "high": {"accuracy": 0.95},
    }  # fmt: skip
    return ModelMetricsMeasured(**{**fields, **changes})


def test_what_was_measured_is_shown_and_old_versions_are_forgotten() -> None:
    """Each metric with its interval; only all rows, by labels, are the accuracy; a retrain a day adds no series."""
    for version in range(1, 9):
        metrics.PREDICTIONS.labels("kept", str(version), "yes").inc()
        metrics.PREDICTION_SCORE.observe(("kept", str(version)), [0.5])
        model_metrics.measured(measured(version))
    model_metrics.measured(measured(8, metrics={"accuracy": 0.1}, slice="region=north"))
    model_metrics.measured(measured(8, metrics={"accuracy": 0.2}, source="estimate"))
    model_metrics.measured(measured(8, metrics={"accuracy": 0.3}, variant="canary"))
    place = ("kept", "8", "", "", "labels")

    assert (0.9, 0.3) == tuple(
        metrics.MODEL_QUALITY.labels(*place, name)._value.get() for name in ("accuracy", "log_loss")
    )
    assert [0.8, 0.95] == [
        metrics.MODEL_QUALITY_BOUND.labels(*place, "accuracy", bound)._value.get() for bound in ("low", "high")
    ]
    assert 0.9 == metrics.MODEL_ACCURACY.labels("kept", "8")._value.get()
    for one in model_metrics.PER_VERSION:
        versions = {int(key[1]) for key in model_metrics._keys(one) if key[0] == "kept"}
        assert versions <= {4, 5, 6, 7, 8}

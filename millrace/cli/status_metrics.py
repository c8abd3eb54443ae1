"""The few numbers of a service's metrics that a status shows."""

from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from millrace.local.probe import http_get


class Measured(NamedTuple):
    """``lag_records`` is what it has not taken in yet, over all partitions. None where the service does not tell."""

    lag_records: int | None = None
    memory_bytes: int | None = None
    cpu_seconds: float | None = None


def measure(url: str) -> Measured:
    """Ask the service for its metrics; nothing is known of one that does not answer or is no Prometheus exporter."""
    try:
        _, body = http_get(f"{url}/metrics")
        return read(body.decode())
    except (OSError, ValueError):
        return Measured()


def read(text: str) -> Measured:
    r"""The numbers in an answer in Prometheus' text format.

    >>> read("process_resident_memory_bytes 4096.0\n")
    Measured(lag_records=None, memory_bytes=4096, cpu_seconds=None)
    """
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in {"millrace_lag_records", "process_resident_memory_bytes", "process_cpu_seconds_total"}:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    lag, memory = found.get("millrace_lag_records"), found.get("process_resident_memory_bytes")
    return Measured(
        None if lag is None else int(lag),
        None if memory is None else int(memory),
        found.get("process_cpu_seconds_total"),
    )

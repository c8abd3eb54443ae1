"""The files of the container deployment, parsed, and how compose would read them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from millrace.local.platform import SERVICES
from millrace.telemetry import catalogue

ROOT = Path(__file__).parents[2]
OURS = (*SERVICES, "console")
PROCESS = ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds")
FOREIGN = {
    "up": frozenset[str](),
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
    **{f"process_{name}": frozenset[str]() for name in PROCESS},
}
"""Series that are not declared by us: Prometheus's own, and those of its client library, with their labels."""
Case = tuple[str, str]
"""What a check looked at, and what is wrong there; "" for nothing."""

VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")


@dataclass(slots=True)
class Deployment:
    """Every file that takes part. Tests change a copy to see that a check notices."""

    compose: dict[str, Any]
    prometheus: dict[str, Any]
    rules: dict[str, Any]
    datasources: dict[str, Any]
    dashboards: dict[str, dict[str, Any]]
    dockerfile: str
    dockerignore: str
    env_example: str

    @property
    def services(self) -> dict[str, Any]:
        """Compose's services by name."""
        services: dict[str, Any] = self.compose["services"]
        return services

    def environment(self, service: str) -> dict[str, str]:
        """What the container finds in its environment."""
        raw = self.services[service].get("environment", {})
        return {name: interpolated(value) for name, value in raw.items()}

    def command(self, service: str) -> list[str]:
        """What the container runs; empty where the image decides."""
        return [interpolated(word) for word in self.services[service].get("command", ())]

    def listened(self, service: str) -> set[str]:
        """Ports that the files show a service to listen on: published, asked by its health check, or told to it."""
        one = self.services[service]
        published = {mapping.rpartition(":")[2] for mapping in one.get("ports", ())}
        asked = set(
            re.findall(r"(?:127\.0\.0\.1[:/]|kafka:)(\d+)", " ".join(one.get("healthcheck", {}).get("test", ())))
        )
        told = {"5432"} if one["image"].startswith("postgres:") else set()  # the server's own, nowhere written down
        return published | asked | told


@cache
def load() -> Deployment:
    """Read the files, once; who changes something makes a deep copy."""
    grafana = ROOT / "deploy/grafana"
    return Deployment(
        compose=yaml.safe_load((ROOT / "docker-compose.yml").read_text()),
        prometheus=yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text()),
        rules=yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text()),
        datasources=yaml.safe_load((grafana / "provisioning/datasources/prometheus.yml").read_text()),
        dashboards={
            path.name: json.loads(path.read_text()) for path in sorted((grafana / "dashboards").glob("*.json"))
        },
        dockerfile=(ROOT / "Dockerfile").read_text(),
        dockerignore=(ROOT / ".dockerignore").read_text(),
        env_example=(ROOT / ".env.example").read_text(),
    )


def interpolated(value: object) -> str:
    """The value as compose hands it on, each required variable standing for itself.

    >>> interpolated("a ${B:?set it} ${C:-./c} $$d")
    'a <B> ./c $d'
    """

    def one(found: re.Match[str]) -> str:
        return found[3] if found[2] == ":-" else f"<{found[1]}>"

    return VARIABLE.sub(one, str(value)).replace("$$", "$")


def strings(value: object, where: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a document with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from strings(inner, f"{where}[{index}]")
    elif isinstance(value, str):
        yield where, value


def expressions(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """Every PromQL expression with where it stands."""
    for rule in rules(deployment):
        yield f"rule {rule.get('alert', rule.get('record'))}", rule["expr"]
    for name, dashboard in deployment.dashboards.items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]


def rules(deployment: Deployment) -> list[dict[str, Any]]:
    """Every rule, those that record and those that alert."""
    return [rule for group in deployment.rules["groups"] for rule in group["rules"]]


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels that ask something: all but the headings of rows and texts."""
    return [panel for panel in dashboard["panels"] if "targets" in panel]


def declared() -> dict[str, frozenset[str]]:
    """The labels of every series that our processes expose, by the name that the client library gives it."""
    known = {series: one.labels_of(series) for one in catalogue.declared() for series in one.series}
    return {**known, "millrace_build_info": frozenset({"service", "version", "python"})}


def recorded(deployment: Deployment) -> dict[str, frozenset[str]]:
    """The labels of every series that a rule records: those that it groups by."""
    return {
        rule["record"]: frozenset(re.findall(r"\w+", "".join(re.findall(r"\bby \(([^)]*)\)", rule["expr"])[:1])))
        for rule in rules(deployment)
        if "record" in rule
    }

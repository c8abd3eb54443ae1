"""A real Prometheus scrapes a running system; every query has data; a real Alertmanager tells people."""

import asyncio
import csv
import gzip
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import yaml
from confluent_kafka import Producer

from millrace.alerting.prometheus import events_of
from millrace.bus.clock import SystemClock
from millrace.bus.kafka import KafkaTransport
from millrace.contracts.codec import Codec
from millrace.contracts.monitor_events import AlertRaised
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.topics import ALERTS
from millrace.demo.dataset import DatasetFile
from millrace.demo.publish import Publisher
from millrace.local.embedded import Embedded
from millrace.local.platform import Platform
from millrace.local.prepare import prepare
from millrace.local.supervisor import BackOff
from tests.alerting.receivers import Post, Web, free_port, mail_server, web_server
from tests.deploy.deployment import ROOT, expressions, load
from tests.deploy.servers import Prometheus, alertmanager, missing, prometheus, wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.matrix,
    pytest.mark.skipif(bool(missing()), reason=f"not installed here, see tests/apt.sh: {missing()}"),
]
EXAMPLE = ROOT / "examples/electricity"
SMALL = {"first_rows": 400, "window_rows": 800, "holdout_rows": 100, "snapshot_every_rows": 100}
ROWS, FLIPPED_FROM, RATE = 4600, 2600, 60.0
WATCHED: dict[str, Any] = {  # so that what is measured by slices, saved and given up is measured in a short run too
    "monitors": {"slices": [{"feature": "period", "bins": [0.5]}], "save_every_rows": 500, "label_wait_rows": 1000},
    "expectations": [{"field": "nswdemand", "max": 0.77, "on": "flag"}],
}
SINCE_S = 600
VARIABLES = {
    "$__rate_interval": "20s",
    "$service": ".*",
    "$model": "electricity",
    "$stream": "electricity",
    "$metric": "accuracy",
}


@dataclass(frozen=True)
class Watched:
    """A system that has run for a while, and who watches it."""

    prometheus: Prometheus
    platform: Platform
    embedded: Embedded
    web: Web
    post: Post


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The electricity example, small, with a drift planted in its labels; watched from its start to its last row."""
    folder = tmp_path_factory.mktemp("watched")
    project = _project(folder / "electricity")
    with ExitStack() as stack:
        web, post = stack.enter_context(web_server()), stack.enter_context(mail_server())
        platform = Platform(
            folder / "data", project=project.folder, prepare=prepare, back_off=BackOff(first_s=60)
        )  # who is killed stays away until the alert is raised
        embedded = stack.enter_context(Embedded(platform).start())
        told = {
            "ALERT_CONSOLE_URL": platform.info().services["console"].url,
            "ALERT_WEBHOOK_URL": web.url,
            "ALERT_SMTP_URL": f"smtp://127.0.0.1:{post.port}",
            "ALERT_FROM": "millrace@example.org",
            "ALERT_TO": "ops@example.org, me@example.org",
        }
        manager = stack.enter_context(alertmanager(folder / "alertmanager", free_port(), told))
        targets = [urlsplit(service.url).netloc for service in platform.info().services.values()]
        made = stack.enter_context(prometheus(folder / "prometheus", free_port(), targets, manager))
        wait_for(lambda: made.value('sum(up{job="millrace"})') == len(targets), "all are scraped")
        _send(platform, project, 0, 420, 0)
        wait_for(lambda: (made.value("max(millrace_model_version)") or 0) > 0, "a first model serves")
        _visit(platform)
        _refuse(platform)
        _send(platform, project, 420, ROWS, RATE)
        yield Watched(made, platform, embedded, web, post)


def _project(folder: Path) -> Project:
    """The example with a first model after 400 rows, and labels that say the contrary from some row on."""
    shutil.copytree(EXAMPLE, folder)
    config = yaml.safe_load((folder / "model.yaml").read_text())
    config["training"] |= SMALL
    config["gates"]["first"] = 0.5
    config["monitors"] |= WATCHED["monitors"]
    config["expectations"] += WATCHED["expectations"]
    file, column = folder / config["dataset"]["file"], config["dataset"]["label_column"]
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt") as source:
        rows = list(csv.DictReader(source))[:ROWS]
    one, other = sorted({row[column] for row in rows})
    with (folder / "rows.csv").open("w") as target:
        writer = csv.DictWriter(target, rows[0])
        writer.writeheader()
        for number, row in enumerate(rows):
            flipped = {column: other if row[column] == one else one} if number >= FLIPPED_FROM else {}
            writer.writerow({**row, **flipped})
    config["dataset"]["file"] = "rows.csv"
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    return load_project(folder)


def _send(platform: Platform, project: Project, start: int, stop: int, rate: float) -> None:
    async def send() -> None:
        transport = KafkaTransport(platform.bootstrap_servers, "test-publish")
        registry = SchemaRegistry(platform.schema_registry_url)
        publisher = Publisher(transport, Codec(registry), project, SystemClock())
        try:
            await publisher.send(DatasetFile(project), start, stop, rate)
        finally:
            await publisher.close()
            await transport.close()
            await registry.aclose()

    asyncio.run(send())


def _visit(platform: Platform) -> None:
    """Ask the registry for its models a few times: somebody looks at a page."""
    url = platform.info().services["registry"].url
    for _ in range(5):
        with urlopen(f"{url}/v1/models", timeout=20) as answer:
            assert answer.status == 200


def _refuse(platform: Platform) -> None:
    """Somebody writes what is no event."""
    producer = Producer({"bootstrap.servers": platform.bootstrap_servers})
    for number in range(3):
        producer.produce("electricity-events", f"garbage {number}".encode(), b"NSW", 0)
    assert producer.flush(20) == 0


QUERIES = [(where, expression) for where, expression in expressions(load()) if not where.startswith("rule ")]

# What cannot have data in a short run in which nothing fails, by the panel's file and title, with the reason.
EMPTY = {
    "data-quality.json: Windows judged unlike": "no window of the run was unlike the training rows",
    "model.json: Events of a rollout": "begins only if the retrain that the drift asks for beats the champion",
    "model.json: Time to score one event": "the same",
    "model.json: Values": "regression only; the example classifies",
    "model.json: Versions loaded and refused": "no version was refused: of its two series one is missing",
    "service.json: Errors survived": "nothing failed",
    "service.json: Recoveries": "nothing failed, so no lane recovered",
    "service.json: Memory, of what it may have": "only where the control group has a limit",
}


def filled(expression: str) -> str:
    """The query as Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def test_every_query_of_every_panel_parses_and_has_data(watched: Watched) -> None:
    """All but those that are listed with a reason; and what is listed is there, and really empty."""
    empty = {where for where, expression in QUERIES if not watched.prometheus.history(filled(expression), SINCE_S)}

    assert len(QUERIES) > 80
    assert [] == sorted(empty - EMPTY.keys()), f"these have no data: {sorted(empty - EMPTY.keys())}"
    assert set() == EMPTY.keys() - {where for where, _ in QUERIES}, "these are no panels"


def test_every_rule_is_evaluated(watched: Watched) -> None:
    """Prometheus runs each of them without an error, and each series that an alert looks at exists."""
    wait_for(lambda: all(rule["health"] != "unknown" for rule in watched.prometheus.rules()), "each ran once")
    rules = watched.prometheus.rules()

    assert len(rules) == len([where for where, _ in expressions(load()) if where.startswith("rule ")])
    assert [] == [rule["name"] for rule in rules if rule["health"] != "ok"]


def _heard(watched: Watched, reason: str) -> list[AlertRaised]:
    """What the console was told of it, as our own events."""
    posted = [event for one in watched.web.taken for event in events_of(one.body)]
    return [event for event in posted if isinstance(event, AlertRaised) and event.reason == reason]


async def _logged(platform: Platform) -> list[AlertRaised]:
    """What stands on the topic of alerts."""
    transport, registry = (
        KafkaTransport(platform.bootstrap_servers, "test-read"),
        SchemaRegistry(platform.schema_registry_url),
    )
    codec = Codec(registry)
    try:
        begin, end = await transport.bounds(ALERTS.suffix, 0)
        read = transport.read(ALERTS.suffix, 0, begin, end)
        return [await codec.decode(AlertRaised, record.value) async for batch in read for record in batch]
    finally:
        await transport.close()
        await registry.aclose()


def _mailed(watched: Watched, name: str) -> list[str]:
    """The e-mails about it."""
    bodies = [mail.get_body(("plain",)) for mail in watched.post.taken]
    texts = [body.get_content() for body in bodies if body is not None]
    return [text for text in texts if f"alertname={name}" in text]


def test_people_hear_of_a_drift(watched: Watched) -> None:
    """By webhook, by e-mail to both receivers, and from the console, which writes it to the log."""
    wait_for(lambda: _heard(watched, "drift-alarm"), "the webhook")
    wait_for(lambda: _mailed(watched, "DriftAlarm"), "the e-mail")
    alert = _heard(watched, "drift-alarm")[0]

    assert ("electricity", "WARNING") == (alert.model, alert.severity)
    assert "docs/runbooks.md#driftalarm" in alert.message
    assert "electricity: drift was found" in _mailed(watched, "DriftAlarm")[0]
    assert {"ops@example.org", "me@example.org"} == set().union(*watched.post.receivers)
    wait_for(lambda: alert in asyncio.run(_logged(watched.platform)), "the console wrote it to the log")


def test_people_hear_of_a_service_that_was_killed(watched: Watched) -> None:
    """Kill -9, by its process id: critical, with the address that does not answer."""
    service = watched.platform.info().services["trainer"]
    assert service.pid is not None
    os.kill(service.pid, signal.SIGKILL)
    wait_for(lambda: _heard(watched, "service-down"), "the webhook")
    wait_for(lambda: _mailed(watched, "ServiceDown"), "the e-mail")
    alert = _heard(watched, "service-down")[0]

    assert ("CRITICAL", urlsplit(service.url).netloc) == (alert.severity, alert.subject)
    assert "does not answer" in _mailed(watched, "ServiceDown")[0]

"""The container deployment agrees with itself and with the code. It cannot be started here, so it is checked."""

import ast
import asyncio
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import pytest
import uvicorn

from millrace.telemetry.health import build_app
from tests.deploy.checks import CHECKS
from tests.deploy.deployment import Deployment, load, panels

SEEN_AT_LEAST = {
    "images_are_pinned": 14,
    "commands_exist": 6,
    "settings_are_read": 50,
    "secrets_are_required": 30,
    "addresses_agree": 26,
    "ports_are_local": 14,
    "dependencies_are_healthy": 45,
    "prometheus_scrapes_all": 7,
    "metrics_are_declared": 50,
    "mounts_exist": 16,
    "broker_is_complete": 9,
    "image_is_built_right": 14,
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_deployment_is_right(name: str) -> None:
    """No check finds a fault, and each saw as much as there is."""
    cases = list(CHECKS[name](load()))

    assert [] == [problem for _, problem in cases if problem]
    assert len(cases) >= SEEN_AT_LEAST[name]


def test_every_check_knows_how_much_there_is() -> None:
    """A check that sees nothing would find nothing."""
    assert SEEN_AT_LEAST.keys() == CHECKS.keys()


Change = Callable[[Deployment], object]


def env(service: str, **values: str | None) -> Change:
    """Set or, with None, remove variables of a service."""

    def change(files: Deployment) -> None:
        environment = files.services[service]["environment"]
        environment.update(values)
        files.services[service]["environment"] = {key: value for key, value in environment.items() if value is not None}

    return change


def service(name: str, **values: object) -> Change:
    """Set keys of a service."""
    return lambda files: files.services[name].update(values)


def rule(expression: str) -> Change:
    """Set the expression of the first alert."""
    return lambda files: files.rules["groups"][0]["rules"][0].update(expr=expression)


def panel(expression: str) -> Change:
    """Set the query of the dashboard's first panel."""
    return lambda files: panels(files.dashboards["overview.json"])[0]["targets"][0].update(expr=expression)


def text(attribute: str, old: str, new: str) -> Change:
    """Replace in a text file."""
    return lambda files: setattr(files, attribute, getattr(files, attribute).replace(old, new))


def targets(*values: str) -> Change:
    """Set what Prometheus scrapes."""
    return lambda files: files.prometheus["scrape_configs"][0]["static_configs"][0].update(targets=list(values))


ALL = ("ingest:8001", "trainer:8002", "registry:8003", "serving:8004", "monitor:8005", "console:8080")
FAULTS: list[tuple[str, Change, str]] = [
    ("images_are_pinned", service("grafana", image="grafana/grafana:latest"), "grafana:latest"),
    ("images_are_pinned", service("kafka", image="apache/kafka"), "apache/kafka"),
    ("images_are_pinned", service("ingest", image="millrace:9.9.9"), "millrace:9.9.9"),
    ("images_are_pinned", text("dockerfile", "python:3.11.15-slim-trixie", "python:slim"), "python:slim"),
    ("commands_exist", service("ingest", command=["python", "-m", "services.ingress"]), "no module services.ingress"),
    ("commands_exist", service("ingest", command=["python", "-m", "services.monitor"]), "no module services.monitor"),
    ("commands_exist", service("prepare", command=["millrace", "ready", "/project"]), "no command millrace ready"),
    ("commands_exist", service("prepare", command=["millrace", "check", "--kafka", "x"]), "No such option"),
    ("commands_exist", service("console", command=["python", "-m", "millrace.local"]), "no module millrace.local"),
    ("commands_exist", service("serving", command=["sh"]), "unknown command"),
    ("settings_are_read", env("serving", MILLRACE_MAX_RECORD="5"), "serving reads no such setting: max_record"),
    ("settings_are_read", env("ingest", MILLRACE_DATABASE_URL="x"), "ingest reads no such setting: database_url"),
    ("settings_are_read", env("monitor", MILLRACE_BOOTSTRAP_SERVERS=None), "not given bootstrap_servers"),
    ("settings_are_read", env("console", MILLRACE_ALERT_SMTP="x"), "console reads no such setting: alert_smtp"),
    ("settings_are_read", env("ingest", MILLRACE_ALERT_SMTP_URL="x"), "ingest reads no such setting: alert_smtp_url"),
    ("settings_are_read", env("trainer", MILLRACE_ARTIFACTS=None), "trainer is not given artifacts"),
    ("settings_are_read", env("ingest", MILLRACE_MAX_RECORDS="many"), "ingest refuses its settings"),
    ("secrets_are_required", env("postgres", POSTGRES_PASSWORD="millrace"), "holds a secret"),
    ("secrets_are_required", env("grafana", GF_SECURITY_ADMIN_PASSWORD="${GRAFANA_PASSWORD:-admin}"), "not required"),
    ("secrets_are_required", env("console", MILLRACE_CONSOLE_TOKEN="${CONSOLE_SECRET:-}"), "not required"),
    (
        "secrets_are_required",
        env("console", MILLRACE_ALERT_WEBHOOK_SECRET="${ALERT_WEBHOOK_SECRET:-x}"),
        "not required",
    ),
    ("secrets_are_required", env("store", AWS_SECRET_ACCESS_KEY="${S3_SECRET_KEY}"), "not required"),
    ("secrets_are_required", text("env_example", "S3_SECRET_KEY=", "S3_SECRET_KEY=changeme"), "not empty"),
    ("secrets_are_required", text("env_example", "GRAFANA_PASSWORD=\n", ""), "GRAFANA_PASSWORD"),
    ("addresses_agree", env("ingest", MILLRACE_BOOTSTRAP_SERVERS="kafka:29092"), "looks for Kafka at kafka:29092"),
    ("addresses_agree", env("kafka", KAFKA_LISTENERS="PLAINTEXT://:9091,HOST://:29092"), "listens elsewhere"),
    (
        "addresses_agree",
        env("serving", MILLRACE_SCHEMA_REGISTRY_URL="http://schema-registry:8080"),
        "looks for schemas",
    ),
    ("addresses_agree", env("registry", MILLRACE_DATABASE_URL="postgresql+psycopg://me@postgres/millrace"), "database"),
    ("addresses_agree", env("schema-registry", APICURIO_DATASOURCE_URL="jdbc:postgresql://postgres:5432/x"), "/x"),
    ("addresses_agree", env("serving", MILLRACE_ARTIFACTS="s3://m/a?endpoint_override=store:9000&scheme=http"), "9000"),
    ("addresses_agree", env("trainer", AWS_ACCESS_KEY_ID="${POSTGRES_PASSWORD:?}"), "another AWS_ACCESS_KEY_ID"),
    ("addresses_agree", lambda files: files.datasources["datasources"][0].update(url="http://prometheus:1"), "grafana"),
    ("ports_are_local", service("kafka", ports=["29092:29092"]), "publishes 29092:29092"),
    ("ports_are_local", service("grafana", ports=["0.0.0.0:3000:3000"]), "publishes 0.0.0.0"),
    ("ports_are_local", service("grafana", ports=["127.0.0.1:9090:3000"]), "publishes 127.0.0.1:9090:3000"),
    ("ports_are_local", env("ingest", MILLRACE_HTTP_PORT="8009"), "publishes 8001, listens elsewhere"),
    ("ports_are_local", env("ingest", MILLRACE_HTTP_HOST="127.0.0.1"), "publishes 8001, listens elsewhere"),
    ("dependencies_are_healthy", lambda files: files.services["kafka"].pop("healthcheck"), "kafka has no health check"),
    ("dependencies_are_healthy", lambda files: files.services.pop("store"), "there is no store"),
    ("dependencies_are_healthy", service("prepare", restart="always"), "prepare is waited for to end, but restarts"),
    ("dependencies_are_healthy", service("registry", depends_on={}), "registry does not wait for postgres"),
    ("dependencies_are_healthy", service("ingest", depends_on={"prepare": {"condition": "service_started"}}), "health"),
    ("prometheus_scrapes_all", targets(*ALL[1:]), "ingest:8001 is not scraped"),
    ("prometheus_scrapes_all", targets(*ALL, "kafka:9092"), "scrapes"),
    ("prometheus_scrapes_all", service("alertmanager", ports=["127.0.0.1:1:1"], healthcheck={}), "Alertmanager is at"),
    ("prometheus_scrapes_all", lambda files: files.prometheus.update(rule_files=[]), "rules.yml is not loaded"),
    ("metrics_are_declared", rule("millrace_dead_letters > 0"), "millrace_dead_letters, which nobody exposes"),
    ("metrics_are_declared", rule("sum by (entity) (millrace_drifts_total)"), "label entity"),
    ("metrics_are_declared", panel("millrace_batch_seconds"), "millrace_batch_seconds, which nobody exposes"),
    ("metrics_are_declared", panel('millrace_model_epoch{version="1"}'), "label version"),
    ("mounts_exist", service("grafana", volumes=["./deploy/nothing:/x:ro"]), "missing, or not read-only"),
    (
        "mounts_exist",
        service("ingest", volumes=["./examples/electricity:/project"]),
        "ingest has no project at /project",
    ),
    ("mounts_exist", lambda files: files.compose["volumes"].pop("kafka"), "others declared"),
    ("broker_is_complete", env("kafka", KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=None), "transaction.state.log.min.isr"),
    ("broker_is_complete", env("kafka", CLUSTER_ID="c2hvcnQ"), "CLUSTER_ID has 5 bytes"),
    ("image_is_built_right", text("dockerfile", "--require-hashes ", ""), "--require-hashes"),
    ("image_is_built_right", text("dockerfile", "USER millrace", "USER root"), "lacks"),
    ("image_is_built_right", text("dockerignore", "!schemas\n", ""), "schemas does not exist or does not reach"),
    ("image_is_built_right", text("dockerignore", "*\n", ""), "lets everything through"),
]


@pytest.mark.parametrize(("name", "change", "said"), FAULTS)
def test_a_planted_fault_is_found(name: str, change: Change, said: str) -> None:
    """Each check fails on what it is there for, and says where."""
    files = deepcopy(load())
    change(files)

    problems = [problem for _, problem in CHECKS[name](files) if problem]

    assert any(said in problem for problem in problems), problems


def test_every_check_was_shown_failing() -> None:
    """No check goes without a planted fault."""
    assert CHECKS.keys() == {name for name, _, _ in FAULTS}


@pytest.mark.parametrize(("failing", "status"), [(None, 0), ("no model", 1)])
def test_the_image_asks_readiness(failing: str | None, status: int) -> None:
    """The HEALTHCHECK of the Dockerfile, run as it stands against our health page."""
    command = ast.literal_eval(re.search(r"CMD (\[\"python\".*\])", load().dockerfile)[1])  # type: ignore[index]
    app = build_app("test", lambda: {"model": failing})
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    ended = subprocess.run([sys.executable, *command[1:]], env={"MILLRACE_HTTP_PORT": str(port)}, check=False)

    server.should_exit = True
    thread.join()
    assert status == ended.returncode


@pytest.mark.parametrize(("answered", "healthy"), [(200, True), (503, False), (404, False)])
def test_the_schema_registry_is_asked_for_its_subjects(answered: int, *, healthy: bool) -> None:
    """Its health check, run as it stands but for the port, takes 200 and nothing else."""
    with answering(answered) as (port, paths):
        *command, script = load().services["schema-registry"]["healthcheck"]["test"][1:]
        script = script.replace("$$", "$").replace("/8080", f"/{port}")
        ended = subprocess.run([*command, script], check=False, timeout=10)

    assert healthy == (ended.returncode == 0)
    assert ["/apis/ccompat/v7/subjects"] == paths


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """An HTTP server that always answers with this status: its port, and the paths asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, paths
    server.shutdown()
    thread.join()
    server.server_close()

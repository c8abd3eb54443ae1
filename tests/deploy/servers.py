"""A real Prometheus and a real Alertmanager, as apt installs them, with our files."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.deployment import ROOT

PATIENCE_S = 120.0
LOOK_S = 0.25
FILES = ROOT / "deploy"


def missing() -> str:
    """What of the two is not installed here; "" if nothing."""
    return ", ".join(
        name for name in ("prometheus", "promtool", "prometheus-alertmanager") if shutil.which(name) is None
    )


class Prometheus:
    """One that runs, asked through its API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The result now. Raises ``ValueError`` with Prometheus's words if the query is wrong."""
        result: list[dict[str, Any]] = self._get("query", query=expr)["result"]
        return result

    def history(self, expr: str, seconds: int) -> list[dict[str, Any]]:
        """The result over the last seconds, each five."""
        now = time.time()
        result: list[dict[str, Any]] = self._get("query_range", query=expr, start=now - seconds, end=now, step=5)[
            "result"
        ]
        return result

    def value(self, expr: str) -> float | None:
        """The one value now; None if there is none."""
        found = self.query(expr)
        return float(found[0]["value"][1]) if found else None

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: object) -> dict[str, Any]:
        address = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
                return data
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from error


def wait_for(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Poll until the condition holds."""
    until_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until_s, f"{what}: not within {patience_s:g} s"
        time.sleep(LOOK_S)


@contextmanager
def prometheus(folder: Path, port: int, targets: Sequence[str], alertmanager: str) -> Iterator[Prometheus]:
    """Our configuration and rules, with other addresses, and a clock that ticks each second."""
    folder.mkdir(parents=True)
    config = yaml.safe_load((FILES / "prometheus/prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = list(targets)
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = (FILES / "prometheus/rules.yml").read_text()
    (folder / "rules.yml").write_text(rules.replace("for: 1m\n", "for: 5s\n"))  # the minute of ServiceDown
    command = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage",
    ]  # fmt: skip
    with _running(command, folder / "log", f"http://127.0.0.1:{port}"):
        yield Prometheus(f"http://127.0.0.1:{port}")


@contextmanager
def alertmanager(folder: Path, port: int, environment: Mapping[str, str]) -> Iterator[str]:
    """Our configuration, rendered as the container does. Its address as Prometheus is told it."""
    folder.mkdir(parents=True)
    text = render(environment).replace("group_wait: 10s", "group_wait: 1s")
    (folder / "alertmanager.yml").write_text(text)
    command = [
        "prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    with _running(command, folder / "log", f"http://127.0.0.1:{port}"):
        yield f"127.0.0.1:{port}"


def render(environment: Mapping[str, str]) -> str:
    """The configuration that Alertmanager gets with this environment. Raises ``CalledProcessError`` as awk ends."""
    files = [FILES / "alertmanager/render.awk", FILES / "alertmanager/alertmanager.yml"]
    command = ["awk", "-f", *map(str, files)]
    path = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, env={**path, **environment}, capture_output=True, text=True, check=True).stdout


@contextmanager
def _running(command: list[str], log: Path, url: str) -> Iterator[None]:
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            wait_for(lambda: process.poll() is not None or _answers(f"{url}/-/ready"), f"{command[0]} is ready")
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

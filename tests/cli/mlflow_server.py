"""A real MLflow tracking server, in an environment of its own: it cannot live in ours."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from benchmarks.environments import NotBuiltError, python_of
from millrace.local.ports import HOST, PortBook

ENVIRONMENTS = Path(__file__).parents[2] / ".millrace" / "bench-envs"
START_S = 120.0  # seconds; it makes its database first. A loaded machine needs half a minute
LOOK_S = 0.2


class Server:
    """Asks the server in MLflow's own words."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener = build_opener(ProxyHandler({}))

    def ask(self, path: str, content: dict[str, Any] | None = None, /, **query: str) -> Any:
        """What it answers, as JSON where it is that."""
        body = None if content is None else json.dumps(content).encode()
        where = f"{self.url}{path}{f'?{urlencode(query)}' if query else ''}"
        with self._opener.open(Request(where, data=body, headers={"Content-Type": "application/json"})) as answer:
            said = answer.read()
        return json.loads(said) if said[:1] in (b"{", b"[") else said

    def runs(self, experiment: str) -> list[dict[str, Any]]:
        """The runs of an experiment."""
        found = self.ask("/api/2.0/mlflow/experiments/get-by-name", experiment_name=experiment)
        asked = {"experiment_ids": [found["experiment"]["experiment_id"]]}
        runs: list[dict[str, Any]] = self.ask("/api/2.0/mlflow/runs/search", asked).get("runs", [])
        return runs

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Steps and values of a metric."""
        said = self.ask("/api/2.0/mlflow/metrics/get-history", run_id=run_id, metric_key=key)
        return [(int(one.get("step", 0)), float(one["value"])) for one in said.get("metrics", ())]

    def files(self, run_id: str) -> dict[str, int]:
        """The run's artefacts with their sizes."""
        said = self.ask("/api/2.0/mlflow/artifacts/list", run_id=run_id)
        return {one["path"]: int(one["file_size"]) for one in said.get("files", ())}


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[Server]:
    """A server on a free port with its database and artefacts in ``folder``. Skips where it cannot be installed."""
    try:
        python = python_of("mlflow", ENVIRONMENTS)
    except NotBuiltError as reason:
        pytest.skip(f"no MLflow to test with: {reason}")
    port = PortBook(folder / "ports.json").choose(["mlflow"])["mlflow"]
    command = [
        str(python), "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artefacts"),
    ]  # fmt: skip
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **quiet}, cwd=folder,
                                   start_new_session=True)  # fmt: skip
    try:
        server = Server(f"http://{HOST}:{port}")
        _until_it_answers(server, process, folder / "mlflow.log")
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _until_it_answers(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_s = time.monotonic() + START_S
    while time.monotonic() < give_up_s:
        assert process.poll() is None, f"MLflow ended with {process.returncode}: {log.read_text()[-2000:]}"
        with contextlib.suppress(URLError, ConnectionError):
            server.ask("/health")
            return
        time.sleep(LOOK_S)
    raise AssertionError(f"MLflow did not answer within {START_S:g} s: {log.read_text()[-2000:]}")

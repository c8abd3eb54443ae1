"""A run brought to an MLflow tracking server, through its REST API. Doing it again changes nothing.

The exported run is found by its tag. What is already there is not sent again: MLflow keeps every point that it is
given. Artefacts go through the server (``mlflow-artifacts:``), which writes the same file over itself.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from millrace.contracts.errors import MillraceError
from millrace.runs.mlflow import ID_TAG, Exported, Metric

TIMEOUT_S = 60.0
METRICS_MAX, PARAMS_MAX = 1000, 100  # of one request; what MLflow takes
PROXIED = "mlflow-artifacts:"
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class MlflowError(MillraceError):
    """The tracking server does not do what is asked; the message is its own."""


class Sent(NamedTuple):
    """Where the run is now. ``created`` is False if it was there before."""

    run_id: str
    experiment_id: str
    url: str
    created: bool
    metrics: int
    files: int


class Mlflow:
    """A tracking server. A name and a password may stand in its address."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise MlflowError(f"{uri!r} is no tracking server's address; give one like http://127.0.0.1:5000")
        port = "" if parts.port is None else f":{parts.port}"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.url = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
        self._headers = {"Accept": "application/json"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        local = parts.hostname in LOCAL  # a proxy from the environment must not be asked about this machine
        self._opener = build_opener(ProxyHandler({})) if local else build_opener()

    def send(self, run: Exported) -> Sent:
        """Bring the run there, or what of it is new.

        Raises:
            MlflowError: the server does not answer, refuses, or keeps its artefacts where it does not pass them on.
        """
        experiment = self._experiment(run.experiment)
        found = self._run(experiment, run)
        created = found is None
        if found is None:
            asked = {"experiment_id": experiment, "run_name": run.name, "start_time": run.start_ms,
                     "tags": [{"key": ID_TAG, "value": run.name}]}  # fmt: skip
            found = self._post("runs/create", asked)["run"]
        run_id = found["info"]["run_id"]
        sent = self._log(run_id, run, found.get("data", {}))
        files = self._upload(found["info"]["artifact_uri"], run.files)
        update: dict[str, Any] = {"run_id": run_id, "status": run.status, "run_name": run.name}
        if run.end_ms is not None:
            update["end_time"] = run.end_ms
        self._post("runs/update", update)
        url = f"{self.url}/#/experiments/{experiment}/runs/{run_id}"
        return Sent(run_id, experiment, url, created, sent, files)

    def _experiment(self, name: str) -> str:
        """The id of the experiment of that name, which is created if there is none."""
        try:
            found = self._get(f"experiments/get-by-name?{urlencode({'experiment_name': name})}")["experiment"]
        except _MissingError:
            return str(self._post("experiments/create", {"name": name})["experiment_id"])
        if found.get("lifecycle_stage") == "deleted":
            raise MlflowError(f"the experiment {name!r} was deleted at {self.url}; restore it there, or purge it")
        return str(found["experiment_id"])

    def _run(self, experiment: str, run: Exported) -> dict[str, Any] | None:
        asked = {"experiment_ids": [experiment], "filter": f"tags.`{ID_TAG}` = '{run.name}'", "max_results": 1}
        runs: list[dict[str, Any]] = self._post("runs/search", asked).get("runs", [])
        return runs[0] if runs else None

    def _log(self, run_id: str, run: Exported, known: Mapping[str, Any]) -> int:
        """Tags, parameters and metrics that are not there yet. How many metrics were sent."""
        tags = [{"key": key, "value": value} for key, value in run.tags.items()]
        there = {one["key"] for one in known.get("params", ())}
        params = [{"key": key, "value": value} for key, value in run.params.items() if key not in there]
        metrics = self._new(run_id, run.metrics, {one["key"] for one in known.get("metrics", ())})
        points = [one._asdict() for one in metrics]
        for name, items, most in (
            ("tags", tags, PARAMS_MAX),
            ("params", params, PARAMS_MAX),
            ("metrics", points, METRICS_MAX),
        ):
            for some in _parts(items, most):
                self._post("runs/log-batch", {"run_id": run_id, name: some})
        return len(metrics)

    def _new(self, run_id: str, metrics: Sequence[Metric], keys: set[str]) -> list[Metric]:
        """The points that the server does not have."""
        known = set()
        for key in sorted({one.key for one in metrics} & keys):
            page = ""
            while True:
                asked = {"run_id": run_id, "metric_key": key, **({"page_token": page} if page else {})}
                said = self._get(f"metrics/get-history?{urlencode(asked)}")
                known |= {(key, int(one["timestamp"]), int(one.get("step", 0))) for one in said.get("metrics", ())}
                page = said.get("next_page_token", "")
                if not page:
                    break
        return [one for one in metrics if (one.key, one.timestamp, one.step) not in known]

    def _upload(self, root: str, files: Mapping[str, bytes]) -> int:
        if files and not root.startswith(PROXIED):
            raise MlflowError(
                f"{self.url} keeps the artefacts at {root}, and does not take them itself; start it with "
                "--artifacts-destination, or export the files with --to"
            )
        base = urlsplit(root).path.strip("/")
        for name, content in files.items():
            path = f"/api/2.0/mlflow-artifacts/artifacts/{base}/{quote(name)}"
            self._ask("PUT", path, content, "application/octet-stream")
        return len(files)

    def _get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", f"/api/2.0/mlflow/{path}", None, "")

    def _post(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        return self._ask("POST", f"/api/2.0/mlflow/{path}", json.dumps(content).encode(), "application/json")

    def _ask(self, method: str, path: str, content: bytes | None, kind: str) -> dict[str, Any]:
        headers = {**self._headers, **({"Content-Type": kind} if kind else {})}
        request = Request(self.url + path, data=content, headers=headers, method=method)  # noqa: S310  # http only
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                said = response.read()
            answer = json.loads(said or b"{}")
        except HTTPError as error:
            with error:
                words = error.read().decode(errors="replace")[:2000]
            if "RESOURCE_DOES_NOT_EXIST" in words:
                raise _MissingError(words) from error
            raise MlflowError(f"{self.url} answered {error.code} to {method} {path}: {words}") from error
        except (OSError, ValueError) as error:
            raise MlflowError(f"{self.url} does not answer as MLflow does ({method} {path}): {error}") from error
        if not isinstance(answer, dict):
            raise MlflowError(f"{self.url} answered no object to {method} {path}")
        return answer


class _MissingError(MlflowError):
    """It knows no such thing."""


def _parts(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    for at in range(0, len(items), most):
        yield items[at : at + most]

"""The Open Inference Protocol, version 2, over HTTP: health, metadata and inference on rows of features.

Reference: KServe, "Open Inference Protocol V2", REST. The caller gives features in the order of the model's metadata;
only ingest can compute them from an entity's history. Without a version the champion answers; a version may be any that
is in memory, a candidate or one of before among them. Nothing of this is on the log.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from millrace.contracts.project import Project
from services.serving.score import Model

LARGEST_ROWS = 10_000


class Serving(Protocol):
    """The part of a loaded deployment that answers need."""

    @property
    def model(self) -> Model:
        """The model."""
        ...

    @property
    def version(self) -> int:
        """Its version."""
        ...


class Source(Protocol):
    """Whoever knows what is loaded."""

    @property
    def serving(self) -> Serving | None:
        """What is loaded now."""
        ...

    @property
    def versions(self) -> Mapping[int, Model]:
        """All models in memory, by version."""
        ...


class Tensor(BaseModel):
    """A tensor of the protocol: data row by row."""

    name: str
    shape: list[int]
    datatype: Literal["FP32", "FP64"]
    data: list[Any]


class InferRequest(BaseModel):
    """One input tensor named ``features`` of shape [rows, features]."""

    id: str | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=1)]


def add_inference_routes(app: FastAPI, project: Project, source: Source) -> None:
    """Add the protocol's paths for one model."""
    known = _Known(project, source)
    width = len(project.features)

    @app.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        """Whether the process answers."""
        return {"live": True}

    @app.get("/v2/health/ready")
    async def health() -> dict[str, bool]:
        """Whether a model is loaded."""
        return {"ready": known.champion(project.model) is not None}

    @app.get("/v2/models/{name}")
    async def metadata(name: str) -> dict[str, Any]:
        """Inputs and outputs of the model, and the versions that are loaded, the champion's first."""
        champion = known.champion(name).version
        return known.described([champion, *(version for version in source.versions if version != champion)])

    @app.get("/v2/models/{name}/versions/{version}")
    async def metadata_of_version(name: str, version: str) -> dict[str, Any]:
        """The same of one version."""
        return known.described([known.version(name, version)[0]])

    @app.post("/v2/models/{name}/infer")
    def infer(name: str, request: InferRequest) -> dict[str, Any]:
        """Score rows of features with the champion. Runs in a worker thread, so that the stream is not held up."""
        champion = known.champion(name)
        return _answer(name, champion.version, champion.model, request, width)

    @app.post("/v2/models/{name}/versions/{version}/infer")
    def infer_with_version(name: str, version: str, request: InferRequest) -> dict[str, Any]:
        """Score rows of features with a version that is loaded."""
        return _answer(name, *known.version(name, version), request, width)


class _Known:
    """What can be asked about; HTTP 404 or 503, in words, for the rest."""

    def __init__(self, project: Project, source: Source) -> None:
        self._project, self._source = project, source

    def champion(self, name: str) -> Serving:
        if name != self._project.model:
            raise HTTPException(404, f"no model {name!r} here; this process serves {self._project.model!r}")
        if self._source.serving is None:
            raise HTTPException(503, f"model {name!r} has no deployment yet")
        return self._source.serving

    def version(self, name: str, version: str) -> tuple[int, Model]:
        self.champion(name)
        loaded = self._source.versions
        if not version.isdecimal() or int(version) not in loaded:
            raise HTTPException(404, f"version {version!r} of {name!r} is not loaded; loaded are {list(loaded)}")
        return int(version), loaded[int(version)]

    def described(self, versions: list[int]) -> dict[str, Any]:
        width, classes = len(self._project.features), self._project.label.classes
        return {
            "name": self._project.model,
            "versions": [str(version) for version in versions],
            "platform": "onnx_onnxruntime",
            "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, width]}],
            "outputs": [
                {"name": "value", "datatype": "FP64", "shape": [-1]},
                {"name": "scores", "datatype": "FP64", "shape": [-1, len(classes)]},
            ],
            "parameters": {"features": list(self._project.feature_names), "classes": list(classes)},
        }


def _answer(name: str, version: int, model: Model, request: InferRequest, width: int) -> dict[str, Any]:
    rows = _rows(request.inputs[0], width)
    try:
        scored = model.score(rows)
    except Exception as error:  # onnxruntime's errors have no common base; a candidate may well raise some
        raise HTTPException(500, f"version {version} cannot score these rows: {error}") from error
    outputs = [("value", scored.values), ("scores", scored.scores)]
    return {
        "model_name": name,
        "model_version": str(version),
        "id": request.id,
        "outputs": [
            {"name": key, "datatype": "FP64", "shape": list(array.shape), "data": _data(array.ravel().tolist())}
            for key, array in outputs
        ],
    }


def _data(values: list[float]) -> list[float | None]:
    """JSON knows no NaN and no infinity."""
    return [value if math.isfinite(value) else None for value in values]


def _rows(tensor: Tensor, width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The tensor as an array of shape (rows, width); HTTP 400 or 413 with the value seen if it is none."""
    try:
        rows = np.array(tensor.data, dtype=np.float64).reshape(tensor.shape)
    except (TypeError, ValueError) as error:
        raise HTTPException(400, f"inputs[0].data does not fill the shape {tensor.shape}: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != width:
        raise HTTPException(400, f"inputs[0] has shape {list(rows.shape)}, [rows, {width}] is needed")
    if len(rows) > LARGEST_ROWS:
        raise HTTPException(413, f"{len(rows)} rows, at most {LARGEST_ROWS} are scored at once")
    return rows

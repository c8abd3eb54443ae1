"""The Open Inference Protocol, version 2, over HTTP: health, metadata and inference on rows of features.

Reference: KServe, "Open Inference Protocol V2", REST. The caller gives features in the order of the model's metadata;
only ingest can compute them from an entity's history.
"""

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
    width = len(project.features)

    def ready(name: str) -> Serving:
        if name != project.model:
            raise HTTPException(404, f"no model {name!r} here; this process serves {project.model!r}")
        if source.serving is None:
            raise HTTPException(503, f"model {name!r} has no deployment yet")
        return source.serving

    @app.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        """Whether the process answers."""
        return {"live": True}

    @app.get("/v2/health/ready")
    async def health() -> dict[str, bool]:
        """Whether a model is loaded."""
        return {"ready": ready(project.model) is not None}

    @app.get("/v2/models/{name}")
    async def metadata(name: str) -> dict[str, Any]:
        """Inputs, outputs and version of the model."""
        return {
            "name": name,
            "versions": [str(ready(name).version)],
            "platform": "onnx_onnxruntime",
            "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, width]}],
            "outputs": [
                {"name": "value", "datatype": "FP64", "shape": [-1]},
                {"name": "scores", "datatype": "FP64", "shape": [-1, len(project.label.classes)]},
            ],
            "parameters": {"features": list(project.feature_names), "classes": list(project.label.classes)},
        }

    @app.post("/v2/models/{name}/infer")
    def infer(name: str, request: InferRequest) -> dict[str, Any]:
        """Score rows of features. Runs in a worker thread, so that the stream is not held up."""
        serving = ready(name)
        rows = _rows(request.inputs[0], width)
        scored = serving.model.score(rows)
        outputs = [("value", scored.values), ("scores", scored.scores)]
        return {
            "model_name": name,
            "model_version": str(serving.version),
            "id": request.id,
            "outputs": [
                {"name": key, "datatype": "FP64", "shape": list(array.shape), "data": array.ravel().tolist()}
                for key, array in outputs
            ],
        }


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

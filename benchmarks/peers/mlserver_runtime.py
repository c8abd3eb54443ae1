"""MLServer's custom runtime for the same ONNX model. ``benchmarks/start.py`` writes its two settings files."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Forest(MLModel):
    """onnxruntime behind the Open Inference Protocol."""

    async def load(self) -> bool:
        """Open the model that model-settings.json names."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Score all rows of the request, which adaptive batching makes of many."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        labels, scores = self._session.run(None, {self._input: rows})
        outputs = [
            NumpyCodec.encode_output("value", labels.reshape(-1, 1)),
            NumpyCodec.encode_output("scores", scores),
        ]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=outputs)

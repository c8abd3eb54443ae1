"""Only a whole, known and finite model is admitted; what is admitted scores."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from millrace.contracts.errors import ArtifactError
from services.serving.score import LARGEST_BYTES, Model, check_file
from tests.onnx_models import classifier, linear, network, regressor


def test_a_classifier_gives_classes_and_probabilities():
    """Values are class indices; scores have a column for each class and add up to 1."""
    rows = np.array([[2.0, 0, 0], [-2.0, 0, 0]])
    scored = Model(classifier(), width=3, classes=2).score(rows)

    assert [1.0, 0.0] == scored.values.tolist()
    assert (2, 2) == scored.scores.shape
    np.testing.assert_allclose(scored.scores.sum(axis=1), 1, rtol=1e-6)


def test_a_regressor_gives_numbers_and_no_scores():
    """Values are the model's numbers; the scores have no columns."""
    scored = Model(regressor(), width=3, classes=0).score(np.array([[1.0, 2.0, 3.0]]))

    np.testing.assert_allclose(scored.values, [6.0], rtol=1e-5)
    assert (1, 0) == scored.scores.shape


def test_no_rows_give_no_answers():
    """A micro-batch of labels only is scored as nothing."""
    assert Model(classifier(), width=3, classes=2).score(np.empty((0, 3))).values.shape == (0,)


def external(tensor: TensorProto) -> TensorProto:
    """The tensor with its data claimed to lie in another file."""
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


MATMUL = helper.make_node("MatMul", ["features", "weights"], ["value"])
BAD = {
    "empty": (b"", "ONNX"),
    "garbage": (b"\x00\xff" * 40, "not a valid ONNX file"),
    "cut short": (classifier()[: len(classifier()) // 2], "not a valid ONNX file"),
    "too wide": (classifier(4), "width 3 is needed"),
    "NaN weights": (network(MATMUL, linear([1.0, float("nan"), 1.0])), "NaN"),
    "infinite answer": (network(MATMUL, linear([float("inf"), 1.0, 1.0])), "finite|row of zeros"),
    "external tensor": (network(MATMUL, external(linear([1.0, 1.0, 1.0]))), "outside the file|ONNX"),
    "foreign operator": (
        network(helper.make_node("Shell", ["features"], ["value"], domain="evil"), domain="evil"),
        r"\['evil'\] are not served",
    ),
    "unknown operator": (network(helper.make_node("NoSuchOp", ["features"], ["value"])), "ONNX"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_reason(name):
    """Each kind of bad model is refused before it serves anything."""
    content, reason = BAD[name]
    with pytest.raises(ArtifactError, match=reason):
        Model(content, width=3, classes=0)


@pytest.mark.parametrize("shape", [[1, 3], [], [3]])
def test_an_input_of_another_shape_is_refused(shape):
    """One row at a time, a scalar, a vector: all found when the model is loaded, not when it serves."""
    model = onnx.load_model_from_string(classifier())
    described = model.graph.input[0].type.tensor_type.shape
    del described.dim[:]
    for size in shape:
        described.dim.add(dim_value=size)
    with pytest.raises(ArtifactError, match=r"is needed|cannot score"):
        Model(model.SerializeToString(), width=3, classes=2)


def test_a_regressor_in_place_of_a_classifier_is_refused():
    """The scores must fit the project's classes."""
    with pytest.raises(ArtifactError, match=r"cannot score|scores of shape"):
        Model(regressor(), width=3, classes=2)


def test_size_is_bounded():
    """One byte over the limit is refused before it is parsed."""
    with pytest.raises(ArtifactError, match=str(LARGEST_BYTES)):
        check_file(b"\0" * (LARGEST_BYTES + 1))


def test_flipped_bits_never_crash():
    """Whatever byte is damaged, the file is refused cleanly or still a model: nothing else is raised."""
    content, rng = classifier(), np.random.default_rng(7)
    refused = 0
    for at in rng.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(0, 8))
        try:
            Model(bytes(damaged), width=3, classes=2)
        except ArtifactError:
            refused += 1

    assert refused > 5, "the damage must be seen at least now and then"

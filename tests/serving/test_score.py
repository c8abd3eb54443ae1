"""What is admitted scores; what cannot is not admitted. Bad files are in ``test_refusals.py``."""

import numpy as np
import onnx
import pytest

from millrace.contracts.errors import ArtifactError
from millrace.contracts.model_file import DEFAULT, check_file
from services.serving.score import Model
from tests.onnx_models import classifier, regressor


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
    with pytest.raises(ArtifactError, match="one output"):
        Model(regressor(), width=3, classes=2)


def test_size_is_bounded():
    """One byte over the limit is refused before it is parsed."""
    with pytest.raises(ArtifactError, match=str(DEFAULT.bytes_max)):
        check_file(b"\0" * (DEFAULT.bytes_max + 1))


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

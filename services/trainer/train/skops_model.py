"""A scikit-learn estimator from a skops file, without unpickling, and only of types that the server's list allows.

skops writes an estimator as a zip of JSON and arrays that name the types to be built. Building a type runs its code, so
the list is held by the server and not by whoever sends the file. The default is what scikit-learn's own estimators
need; ``MILLRACE_SKOPS_ALLOWED`` adds to it.
"""

import io
import zipfile
from collections.abc import Iterable
from typing import Any

from services.trainer.train.task import FitError

MAGIC = b"PK\x03\x04"
LARGEST_BYTES = 1024 * 1024 * 1024  # unpacked: a small zip may hold very much
ALLOWED = frozenset({
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
})  # fmt: skip  # arrays and trees of scikit-learn's own; none of them calls what a file names


def is_skops(content: bytes) -> bool:
    """Whether these bytes look like a skops file.

    >>> is_skops(b"PK" + bytes([3, 4]) + b"..."), is_skops(b"onnx")
    (True, False)
    """
    return content.startswith(MAGIC)


def from_skops(content: bytes, allowed: Iterable[str] = ()) -> Any:
    """The fitted estimator.

    Args:
        content: the file.
        allowed: types that the server allows besides ``ALLOWED``, by their full names.

    Raises:
        FitError: it is no skops file, too large, or names types that are not allowed.
    """
    import skops.io  # noqa: PLC0415  # half a second, only where such a file comes in

    trusted = ALLOWED | set(allowed)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > LARGEST_BYTES:
            raise FitError(f"the skops file unpacks to {size} bytes, at most {LARGEST_BYTES} are read")
        unknown = sorted(set(skops.io.get_untrusted_types(data=content)) - trusted)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError) as error:
        raise FitError(f"this is no skops file: {error!r}") from error
    if unknown:
        raise FitError(
            f"the skops file names the types {unknown}, which the trainer does not build; if they are yours and safe, "
            "add them to MILLRACE_SKOPS_ALLOWED of the trainer, or send the model as ONNX"
        )
    try:
        return skops.io.loads(content, trusted=sorted(trusted))
    except Exception as error:  # skops and the types' own constructors raise whatever they like
        raise FitError(f"the skops file cannot be read: {type(error).__name__}: {error}") from error

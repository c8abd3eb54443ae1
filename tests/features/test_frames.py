"""Saved state: what is damaged, incomplete or of something else is refused."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from millrace.contracts.errors import ContractError
from millrace.features.frames import pack, unpack
from tests.features.drawn import MANY, advance, state_of
from tests.features.test_batch import WIDE, WINDOWS, drawn_rows

ARRAY = arrays_of.arrays(st.sampled_from([np.float64, np.int64, np.uint8]), arrays_of.array_shapes(min_side=0))


@given(st.dictionaries(st.text(max_size=5), ARRAY, max_size=4), st.integers(40, 400))
def test_what_is_packed_comes_back(arrays, chunk_bytes):
    """Any arrays, in frames that are no longer than asked for."""
    frames = pack("k", {"a": [1, None]}, arrays, chunk_bytes)
    meta, found = unpack("k", frames)

    assert max(map(len, frames)) <= chunk_bytes
    assert {"a": [1, None]} == meta
    assert list(arrays) == list(found)
    for name, one in arrays.items():
        assert (one.dtype, one.shape, one.tobytes()) == (found[name].dtype, found[name].shape, found[name].tobytes())


@pytest.fixture(scope="module")
def saved():
    """A state with some rows, in several frames."""
    specs = MANY.validate_python([*WIDE, *WINDOWS])
    state = state_of(specs)
    advance(state, specs, drawn_rows(random.Random(1), 500, 7, 0.1))
    return state, state.save(chunk_bytes=2000)


def flipped(frames):
    """One bit changed in the middle of one frame."""
    middle = len(frames) // 2
    frame = bytearray(frames[middle])
    frame[len(frame) // 2] ^= 1
    return [*frames[:middle], bytes(frame), *frames[middle + 1 :]]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flipped, "its bytes are damaged"),
        (lambda frames: frames[:-1], "frames are not those of one saving"),
        (lambda frames: [frames[1], frames[0], *frames[2:]], "frames are not those of one saving"),
        (lambda frames: [frames[0], *frames], "frames are not those of one saving"),
        (lambda frames: [], "frames are not those of one saving"),
        (lambda frames: [*frames[:-1], frames[-1][:-9]], "its bytes are damaged"),
        (lambda frames: [b"mrs0" + frames[0][4:], *frames[1:]], "begins with b'mrs0', b'mrs1' is needed"),
        (lambda frames: [b"", *frames], "begins with b''"),
        (lambda frames: pack("rows", {}, {}), "it holds 'rows', 'features' is needed"),
        (lambda frames: state_of(MANY.validate_python(WIDE)).save(), "it is of the feature set"),
    ],
)
def test_damage_is_refused(saved, damage, said):
    """With the reason; and the state stays what it was."""
    state, frames = saved
    assert len(frames) > 3

    with pytest.raises(ContractError, match=said):
        state.restore(damage(frames))
    assert frames == state.save(chunk_bytes=2000)


def test_frames_of_two_savings_do_not_mix(saved):
    """The same features at another time."""
    state, frames = saved
    other = state_of(MANY.validate_python([*WIDE, *WINDOWS]))
    others = other.save(chunk_bytes=2000)

    with pytest.raises(ContractError, match="not those of one saving"):
        state.restore([*others, *frames[len(others) :]])

"""Which variant answers an event: a stable hash of the rollout and of what keeps its variant. Pure.

    u = first 8 bytes of BLAKE2b(unit, key = rollout id) / 2^64        in [0, 1)

The parts other than the champion take ``[0, share)`` one after another, in the order of the traffic; the champion has
the rest. From this follows:

- an entity keeps its variant for as long as the shares stay, in every process and after every restart: nothing is kept;
- a share that grows keeps its entities and takes further ones from the champion (shares of several arms that move
  against each other move their borders: those between two borders change their arm);
- the key makes the draws of two rollouts independent, so the same entities are not the ones to try everything.

References:
    J.-P. Aumasson et al., "BLAKE2: simpler, smaller, fast as MD5", ACNS 2013.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

CHAMPION_PART = 0
KEY_BYTES = 64  # the longest key that BLAKE2b takes


def positions(rollout_id: str, units: Any) -> NDArray[np.float64]:
    """``u`` of each unit; ``units`` is an Arrow array of strings, or a list of them. Each is hashed once.

    Only the upper 53 bits count, all that a float64 has: rounding must not give 1.0.

    >>> positions("rollout/m/7", ["a", "b", "a"]).round(4).tolist()
    [0.8755, 0.3856, 0.8755]
    """
    encoded = pc.dictionary_encode(units if isinstance(units, pa.Array) else pa.array(units, pa.utf8()))
    key = rollout_id.encode()
    if len(key) > KEY_BYTES:
        key = hashlib.blake2b(key).digest()
    digests = b"".join(hashlib.blake2b(unit.encode(), key=key).digest()[:8] for unit in encoded.dictionary.to_pylist())
    drawn: NDArray[np.uint64] = np.frombuffer(digests, dtype=">u8").astype(np.uint64)
    unique = (drawn >> np.uint64(11)) / 2.0**53
    places: NDArray[Any] = encoded.indices.to_numpy(zero_copy_only=False)
    return unique[places] if len(places) else np.empty(0)


def assign(drawn: NDArray[np.float64], shares: Sequence[float]) -> NDArray[np.intp]:
    """The part of each event: 0 is the champion, ``i`` the i-th other one, which has ``shares[i - 1]``.

    >>> assign(np.array([0.05, 0.1, 0.29, 0.31, 0.99]), [0.1, 0.2]).tolist()
    [1, 2, 2, 0, 0]
    """
    part = np.searchsorted(np.cumsum(shares), drawn, side="right") + 1
    part[part > len(shares)] = CHAMPION_PART
    return part

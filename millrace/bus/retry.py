"""How long to wait before trying again."""

FIRST_S = 0.05
LONGEST_S = 5.0


def backoff_s(attempt: int, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> float:
    """Seconds to wait before try ``attempt`` (1, 2, …): doubling, bounded, without jitter.

    Each partition has one owner, so there is no herd to spread out; a fixed schedule keeps simulations repeatable.

    >>> [backoff_s(n) for n in (1, 2, 3, 20)]
    [0.05, 0.1, 0.2, 5.0]
    """
    return min(longest_s, first_s * float(1 << min(attempt - 1, 30)))

"""A process that appends to the lake until it has all rows: ``lake_driver.py <folder> <rows> <batch> <die>``.

Rows follow from their offsets, so that each life appends what the last one would have. ``die`` is ``place@n``: SIGKILL
at that place, the n-th time; or empty. Whatever batch size it has, it begins where the table ends.
"""

import os
import signal
import sys
from pathlib import Path

from millrace.stores.lake import Lake, LakeFencedError
from tests.stores.lake_rows import DAILY, rows


class Die:
    """Kills this process at a place."""

    def __init__(self, told: str) -> None:
        self._place, _, hit = told.partition("@")
        self._left = int(hit or 1)

    def __call__(self, place: str) -> None:
        """Count, and die."""
        if place == self._place:
            self._left -= 1
            if not self._left:
                sys.stdout.write(f"dies at {place}\n")
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, count: int, batch: int, die: str) -> None:
    """Append until the end."""
    lake = Lake(Path(folder), "tiny", DAILY, reached=Die(die))
    while (start := lake.position(0) or 0) < count:
        end = min(count, start + batch)
        try:
            lake.append(rows(0, range(start, end)), 0, start, end)
        except LakeFencedError:  # another driver was faster
            continue
        if start // 50 != end // 50:
            lake.compact()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

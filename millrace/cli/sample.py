"""The made-up stream that ``millrace init`` writes: three machines whose trouble changes its face half-way.

At first a bearing fails when it runs hot; after ``DRIFT_ROW`` the machines are cooled, and it is vibration that tells.
A model that learned the first half is wrong in the second, so that the loop has something to do.
"""

import csv
import io

import numpy as np

ROWS = 3000
DRIFT_ROW = 1500
MACHINES = ("press-1", "press-2", "lathe-1")
NOISE = 0.05  # share of labels that nothing explains
KEEP = 0.9  # of yesterday's deviation is left today: readings change slowly
SEED = 20260101


def sample_csv() -> str:
    """The file's content: a header and ``ROWS`` rows, the machines taking turns. Always the same."""
    rng = np.random.default_rng(SEED)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["machine", "temperature", "vibration", "condition"])
    heat, shaking = (dict.fromkeys(MACHINES, 0.0) for _ in range(2))
    for row in range(ROWS):
        machine = MACHINES[row % len(MACHINES)]
        heat[machine] = KEEP * heat[machine] + rng.normal(0, 4)
        shaking[machine] = KEEP * shaking[machine] + rng.normal(0, 0.6)
        cause = heat[machine] / 4 if row < DRIFT_ROW else shaking[machine] / 0.6
        failing = bool(cause > 1) != bool(rng.random() < NOISE)
        temperature = (70 if row < DRIFT_ROW else 60) + heat[machine]
        vibration = max(0.0, 5 + shaking[machine])
        writer.writerow([machine, f"{temperature:.2f}", f"{vibration:.3f}", "failing" if failing else "healthy"])
    return text.getvalue()

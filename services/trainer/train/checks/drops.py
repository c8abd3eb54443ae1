"""By how much one value of the gate's metric is worse than another, in a unit that means the same for every model.

Accuracy: points. A loss: a share of what the best constant answer of the training rows costs on the hold-out rows, so
that 1 is the whole of what there is to know. A share of the other loss itself would be large for next to nothing
wherever that is small.
"""

from millrace.contracts.gates_policy import TINY, TOO_BAD, Gates
from services.trainer.train.judge import constant, measure
from services.trainer.train.task import FitTask

DIGITS = 12  # 0.92 less 0.82 is then 0.1, and passes a limit of 0.1


def drop(task: FitTask, value: float, reference: float) -> float:
    """The drop from the reference to the value; negative if the value is better, 1e9 if it is no finite number."""
    gates: Gates = task.gates
    lost = 0.0 - gates.gain(value, reference)  # so that equal values give 0.0, and not -0.0
    if not abs(lost) < TOO_BAD:  # NaN is not below it either
        return TOO_BAD
    whole = 1.0 if gates.higher_is_better else abs(measure(constant(task), task.holdout.y)[gates.metric])
    return round(lost / max(whole, TINY), DIGITS)

"""A model is tested like code: each file here is a test, with a name, a limit in model.yaml, and a result in the run.

``check`` runs them all; the registry refuses a candidate of which one has failed. What each guards against, its limits
and their defaults stand in docs/model-checks.md, which ``table`` writes. All of them look at the ONNX file, which is
what will serve, and at the hold-out rows, which it never learned from. What is random is drawn from the task's seed, so
the same task has the same results; only ``scoring-time`` has not.
"""

from services.trainer.train.checks.candidate import Candidate, Step
from services.trainer.train.checks.importances import Importance, importances, shap_importances
from services.trainer.train.checks.run import check
from services.trainer.train.checks.speed import Clock

__all__ = ["Candidate", "Clock", "Importance", "Step", "check", "importances", "shap_importances"]

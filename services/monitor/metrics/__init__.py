"""The metrics of labelled predictions, each with its 95 % interval. They equal scikit-learn's on the same rows.

Many windows of equally many rows are measured in one go. They overlap, so what is computed for a row is computed once;
``windows`` says which rows are in each. Nothing that is computed for one window depends on which others are beside it.

A metric that the rows do not define (an AUC without both classes, an R2 of labels that do not differ) is NaN here, and
is not published.
"""

from services.monitor.metrics.classification import classification
from services.monitor.metrics.intervals import Estimate
from services.monitor.metrics.regression import regression

__all__ = ["Estimate", "classification", "regression"]

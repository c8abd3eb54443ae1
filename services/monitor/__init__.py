"""Monitor: says how good the predictions are, notices when that changes, and asks for a retrain.

Owns the join of labels to predictions, the prequential metrics, the drift detectors and the evidence about rollouts.
Consumes ``<model>-observations``; reads ``retrain-requests``, ``training-runs``, ``model-versions`` and ``deployments``
before each decision. Produces ``model-metrics``, ``drift-events``, ``retrain-requests``, ``rollout-evidence`` and
``alerts``. Forgets everything at the end of the process: what it knows is rebuilt from the observations, as far back as
they are kept.
"""

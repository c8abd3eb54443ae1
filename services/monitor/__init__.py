"""Monitor: says how good the predictions are, notices when that changes, and asks for a retrain.

Owns the join of labels to predictions, the prequential metrics, the drift detectors and the evidence about rollouts.
Consumes ``<model>-observations``; reads ``retrain-requests``, ``training-runs``, ``model-versions``, ``deployments``
and ``drift-events`` before each decision, and ``training-profiles`` when a version begins to serve. Produces
``model-metrics``, ``drift-events``, ``retrain-requests``, ``rollout-evidence`` and ``alerts``. Forgets nothing that
matters: ``<model>-monitor-state`` has what it knew at an offset of the observations, which are read on from there; a
prediction is forgotten when its label has not come for long enough.
"""

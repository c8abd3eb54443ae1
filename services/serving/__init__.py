"""Serving: scores every sample since the model's first deployment, exactly once.

Owns predictions, shadow predictions and observations. Consumes ``<stream>-samples`` and ``deployments``; produces
``<model>-predictions``, ``<model>-shadow-predictions``, ``<model>-observations``, ``serving-status`` and ``alerts``.
Answers the Open Inference Protocol over HTTP. Loads only what was signed, passes as a file, and answers its golden
records; while a rollout is under way, its other variants can fail but not hurt. Remembers nothing between micro-batches
but the models that it has loaded, and which variant failed too often.
"""

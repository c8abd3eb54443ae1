"""Serving: scores every sample since the model's first deployment, exactly once.

Owns predictions and observations. Consumes ``<stream>-samples`` and ``deployments``; produces
``<model>-predictions``, ``<model>-observations``, ``serving-status`` and ``alerts``. Answers the Open Inference
Protocol over HTTP. Remembers nothing between micro-batches but the model that it has loaded.
"""

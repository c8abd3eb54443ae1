"""The mathematics of a training run. Pure: rows and a pipeline in, an ONNX file and its judgement out.

``window`` finds the rows, ``fit`` runs the steps in order, ``export`` writes ONNX, ``score`` reads it, ``judge``
measures and checks. ``task`` is what goes in and what comes out. Only ``fit``, ``export``, ``score`` import the heavy
libraries; the trainer's own process needs none of them.
"""

"""The mathematics of a training run. Pure: rows and a pipeline in, an ONNX file and its judgement out.

``window`` finds the rows, ``fit`` runs the steps in order: ``search`` settles on a model and fits it (or ``imported``
looks at a file from elsewhere), ``export`` writes ONNX, ``score`` reads it, ``judge`` measures, ``checks`` tests it.
``task`` is what goes in and what comes out. Only ``window`` and ``task`` are without heavy libraries; the trainer's own
process needs no other.
"""

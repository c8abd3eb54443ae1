"""Trainer: turns labelled samples into ONNX models, judges files from elsewhere, and says of each attempt how it went.

Owns: the runs of one model. At most one is open at a time, and a run id succeeds at most once.
Consumes: ``data-snapshots``, ``retrain-requests``, ``deployments``, ``model-versions`` and its own
``training-runs``; reads ``<stream>-samples`` by reference, and ``alerts`` before it says that a record is unreadable.
Produces: ``training-runs``, how far a run is included; ``expectations`` and ``training-profiles`` with each success;
``alerts``; and the ONNX file and its golden records in the artefact store before the run is said to succeed.
Forgets: nothing that matters. Its state is a fold over topics that are kept for ever; a fit that was cut short is done
again from the reference in its STARTED event, and its search goes on from the file in which it keeps its trials.
"""

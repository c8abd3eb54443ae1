"""Ingest: makes one ordered, valid log of samples out of what upstream systems send.

Owns the samples log, the dead letters and the memory behind the features. Consumes ``<stream>-events`` and
``<stream>-labels``; produces ``<stream>-samples``, ``<stream>-dead-letters``, ``data-snapshots`` and ``alerts``.
Forgets everything when a partition moves away: its state is rebuilt from the samples that it wrote.
"""

"""Clients of the platform: the publisher, the measuring client, and the demo that uses both.

Writes nothing but what upstream systems write: ``<stream>-events`` and ``<stream>-labels``. What it says about a run it
has read back from the topics, never from a service. ``dataset`` and ``publish`` send a file; ``measure``, ``ledger``
and ``control`` read a run back; ``figures`` and ``checks`` judge it; ``live``, ``chart`` and ``page`` show it; ``run``
puts them together.
"""

"""Registry: keeps every model's life as events, and decides which version serves.

Owns ``model-versions`` and ``deployments``. Consumes ``training-runs`` (what may be admitted), ``registry-requests``
(what people ask for), ``rollout-evidence`` (how a new version does) and ``serving-status`` (what really serves);
produces those two, ``audit-events`` and ``alerts``. Forgets nothing: the log is the truth, and its database is only a
projection of it, rebuilt whenever it is lost, damaged or of an older layout.
"""

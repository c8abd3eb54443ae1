"""Brings alerts to people: what is raised on the log goes out by webhook and e-mail, what Prometheus raises comes in.

No process of its own: the console runs ``millrace.alerting.run.run``.
"""

"""Millrace: machine learning in production as a closed loop over an event log."""

__version__ = "0.1.0"

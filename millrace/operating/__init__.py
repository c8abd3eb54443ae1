"""What operators do, for the command line and the console alike.

Refused records are found and sent back, each exactly once; a retrain is asked for; what is asked for is written once.
What people ask of the registry stands in ``services/registry/commands.py``.
"""

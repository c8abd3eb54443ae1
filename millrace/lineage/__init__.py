"""What came from what: from a prediction back to the rows that trained its model, and from a bad event forward. Pure.

``subject`` understands what is asked about, ``facts`` orders what the control topics say, ``reach`` is how far features
see an event, ``graph`` is the answer's form, ``trace`` draws it out of ``things``. Reading the log is left to the
caller: see ``millrace/cli/lineage_read.py``.
"""

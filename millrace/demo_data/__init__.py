"""The demo of data that can be trusted: five faults in a real stream, what caught each record, what was trained on.

The platform is the real one, as in ``millrace/demo``. ``inject.py`` decides what is sent and knows which records are
bad; ``read.py`` reads everything back from the topics; ``ledger.py`` matches the two by the place of each record.
"""

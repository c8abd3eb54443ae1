"""A page about the data of one snapshot: distributions, what is missing, what was refused.

``make.py`` is the entry: it reads what there is about a snapshot (``facts.py``, ``source.py``, ``letters.py``),
compares it (``compare.py`` and the mathematics beside it), and gives a ``Report`` (``report.py``), which has everything
that the page (``page.py``) shows. Mathematics, report and page are pure; only ``facts``, ``source`` and ``letters``
read.

What is compared: the *new* rows, which this snapshot added to the one before it in its partition; the *previous* rows,
which that one had added; and the *training* rows, which the version that served when the snapshot was taken was made
from. Memory is bounded whatever their number: see ``sample.py``.
"""

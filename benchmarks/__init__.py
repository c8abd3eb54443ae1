"""Ours and the peers, side by side in one run: ``make bench`` (see ``__main__.py``), and what it is made of."""

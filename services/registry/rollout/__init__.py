"""The mathematics of rollouts: from what was measured to what follows. Pure.

``evidence.py`` folds measurements, ``judge.py`` says what follows from them. Each test has a file of its own.
"""

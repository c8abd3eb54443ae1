"""What is wrong, and how to mend it: checks of the machine, the processes, the log and the model.

Each check gives findings: what was looked at, whether it is well, and if not, the way out. ``millrace doctor`` runs
them from the ground up, so the first trouble in its list is mostly the cause of those below.
"""

"""``millrace freeze``, ``unfreeze`` and ``kill``: whether anything may happen by itself."""

from millrace.cli.manage import managing

command = managing(
    "freeze", "Let nothing happen to MODEL by itself but rolling back. What people ask for is done all the same."
)
unfreeze = managing("unfreeze", "Let things happen to MODEL by themselves again: what waited goes on.")
kill = managing("kill", "End the rollout of MODEL that is under way, and freeze.")

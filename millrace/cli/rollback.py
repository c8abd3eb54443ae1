"""``millrace rollback`` and ``millrace abort``: back to what served before, at once."""

from millrace.cli.manage import managing

command = managing(
    "rollback",
    "Give all traffic of MODEL back: to the champion if a rollout is under way, else to the champion before.",
    version="optional",
)
abort = managing("abort", "End the rollout of MODEL that is under way: its champion has all traffic again.")

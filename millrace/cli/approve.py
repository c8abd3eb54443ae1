"""``millrace approve`` and ``millrace reject``: a person's word on a version that waits to enter a space."""

from millrace.cli.manage import managing

command = managing(
    "approve",
    "Agree that VERSION of MODEL enters a space. Where two people have to, the second one lets it in.",
    version="named",
    space=True,
)
reject = managing(
    "reject", "Refuse VERSION of MODEL for good. Its reasons are kept.", version="named", space=True
)  # fmt: skip

"""``millrace promote`` and ``millrace retire``: a version becomes champion, or is taken out."""

from millrace.cli.manage import managing

command = managing(
    "promote",
    "Make VERSION of MODEL the champion, by the project's rollout strategy. Asking for it is approving of it.",
    version="named",
    space=True,
    immediate=True,
)
retire = managing(
    "retire",
    "Take VERSION of MODEL out, until somebody promotes it again; reject is for good. It must not have traffic.",
    version="named",
)

"""What can go wrong with the lake.

MillraceError
└── LakeError               the lake cannot do what it was asked for; the message says why
    ├── LakeUnavailableError    the store does not answer, or not as it should; the same call may succeed later
    ├── LakeFencedError         another writer has moved this partition on; the loser ends, trying again is no use
    └── LakeGapError            the table lacks rows of a range, or an append would leave some out
"""

from millrace.contracts.errors import MillraceError


class LakeError(MillraceError):
    """The lake cannot do what it was asked for."""


class LakeUnavailableError(LakeError):
    """The store does not answer. What is in the table stays; whether a commit in hand is in it, its position tells."""

    retryable = True


class LakeFencedError(LakeError):
    """The table is beyond the offset that this writer wants to append at: it has a successor."""


class LakeGapError(LakeError):
    """Rows of a range are not in the table. Never passed over in silence."""

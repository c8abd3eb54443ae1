"""What a route promises: to bring one notification to its receiver, or to say why not."""

from typing import Protocol

from millrace.alerting.ledger import Notification


class UnreachableError(Exception):
    """The receiver does not answer, or not as it should. The same may succeed later, so it is tried again."""


class RefusedError(Exception):
    """The receiver wants this notification neither now nor later. It is told and left; the next may be taken."""


class Route(Protocol):
    """One way to people. Called with one notification at a time."""

    name: str

    async def deliver(self, notification: Notification) -> None:
        """Bring it; return when the receiver has it. Raises ``UnreachableError`` or ``RefusedError``.

        The same notification may come again after a crash: it then has the same key.
        """
        ...

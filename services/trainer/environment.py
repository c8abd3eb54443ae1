"""What the trainer runs with: a hash of the installed packages, so that a run can say whether it can be repeated."""

import hashlib
from functools import cache
from importlib import metadata


@cache
def lock_hash() -> str:
    """Content hash of the names and versions of all installed packages; the same wherever the lock file is kept to.

    >>> len(lock_hash())
    16
    """
    found = {(one.metadata["Name"] or "").lower().replace("_", "-"): one.version for one in metadata.distributions()}
    lines = "\n".join(f"{name}=={version}" for name, version in sorted(found.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]

"""What has to hold before a version is loaded: its place in the deployment, its feature set, and its signature.

The epoch only grows (``core.py``) and the store answers with what its address says; what the file may hold is in
``contracts/model_file.py``, and whether it answers as in training in ``probe.py``.
"""

import math
from pathlib import Path
from typing import Protocol

from millrace.contracts.errors import ArtifactError
from millrace.contracts.events import DeploymentDecided, Traffic
from millrace.contracts.project import Project
from millrace.stores.signing import SigningError, Statement, TrustedKey, Verifier, load_trusted, statement_of
from millrace.telemetry.log import get_logger
from services.serving.split import CHAMPION_PART

log = get_logger(__name__)
CHAMPION = "champion"
SPACE = "production"  # whatever is scored here sees production's events
PAIRED = frozenset({"canary", "shadow", "blue_green"})
SPLIT = frozenset({"ab", "bandit"})
LEEWAY = 1e-6  # of a sum of shares


class NotNowError(ArtifactError):
    """What is needed to judge is not here, or not yet; it is asked for again."""

    retryable = True


class Verifies(Protocol):
    """Whoever knows which signatures hold."""

    def verify(self, statement: Statement, signature: str | None, key_id: str | None) -> None:
        """Return if the signature holds, else raise ``SigningError`` or ``NotNowError``."""
        ...


class TrustedFile:
    """Verifies with the keys in ``trusted.json``, read anew each time: rotation and revocation need no restart.

    While the file cannot be read, the keys that were read last are used, so that a rollback does not depend on it. A
    file that has never been there, and a key that is not in it, may be on their way: :class:`NotNowError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: list[TrustedKey] | None = None

    def verify(self, statement: Statement, signature: str | None, key_id: str | None) -> None:
        """Return if the signature holds.

        Raises:
            SigningError: it does not.
            NotNowError: that cannot be said now.
        """
        keys = self._read()
        try:
            Verifier(keys).verify(statement, signature, key_id)
        except SigningError as error:
            if signature is None or key_id is None or key_id in {key.key_id for key in keys}:
                raise
            raise NotNowError(str(error)) from error

    def _read(self) -> list[TrustedKey]:
        try:
            self._keys = load_trusted(self._path)
        except SigningError as error:
            if self._keys is None:
                raise NotNowError(f"{error}; until then no version can be verified") from error
            log.warning("trusted keys cannot be read, the last ones are used", error=str(error))
        return self._keys


def check_traffic(deployment: DeploymentDecided) -> None:
    """Whether the deployment can be carried out at all.

    Raises:
        ArtifactError: what is wrong with it.
    """
    parts = deployment.traffic
    wrong = None
    if not parts or parts[CHAMPION_PART].variant != CHAMPION:
        wrong = "its first part must be the champion"
    elif len({part.variant for part in parts}) < len(parts):
        wrong = "each variant must be there once"
    elif any(part.mode not in {"LIVE", "SHADOW"} for part in parts) or parts[CHAMPION_PART].mode != "LIVE":
        wrong = "a mode is LIVE or SHADOW, and the champion's LIVE"
    elif any(not 0 <= part.share <= 1 or (part.mode == "SHADOW" and part.share > 0) for part in parts):
        wrong = "a share is between 0 and 1, and 0 in the shadow"
    elif not math.isclose(sum(part.share for part in parts), 1, abs_tol=LEEWAY):
        wrong = "the shares must add up to 1"
    elif len(parts) > 1:
        wrong = _fault_of_rollout(deployment)
    if wrong is not None:
        seen = [(part.variant, part.share, part.mode) for part in parts]
        raise ArtifactError(f"deployment {deployment.epoch} cannot be carried out, {wrong}: {seen}")


def _fault_of_rollout(deployment: DeploymentDecided) -> str | None:
    if deployment.rollout_id is None:
        return "several parts need a rollout_id"
    if deployment.strategy not in PAIRED | SPLIT:
        return f"{deployment.strategy!r} is no strategy for several parts"
    if deployment.strategy in PAIRED and len(deployment.traffic) > 2:
        return f"{deployment.strategy} compares one candidate with the champion"
    if deployment.strategy in SPLIT and any(part.mode == "SHADOW" for part in deployment.traffic):
        return f"{deployment.strategy} has no shadow"
    if deployment.unit not in {"entity", "event"}:
        return f"unit is entity or event, not {deployment.unit!r}"
    return None


def check_part(project: Project, deployment: DeploymentDecided, part: Traffic, verifier: Verifies | None) -> None:
    """Whether this version may be loaded: its features are those that ingest computes, it was signed for this place.

    Raises:
        ArtifactError: it may not, or, where that is ``retryable``, not yet.
    """
    if part.feature_set != project.feature_set:
        raise ArtifactError(
            f"version {part.version} needs the feature set {part.feature_set}, "
            f"ingest computes {project.feature_set}: a model of these is trained when there are enough rows"
        )
    if verifier is None:
        return
    try:
        verifier.verify(statement_of(deployment, part, SPACE), part.signature, part.key_id)
    except SigningError as error:
        raise ArtifactError(str(error)) from error

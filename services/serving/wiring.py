"""Serving put together from its settings."""

from millrace.bus.context import Context
from millrace.contracts.model_file import Limits
from services.serving.models import Trust
from services.serving.probe import ChildProbe, warm
from services.serving.settings import Settings
from services.serving.shell import ServingService
from services.serving.verify import TrustedFile
from services.serving.watchdog import Watchdog


def trust_of(settings: Settings) -> Trust:
    """How much a model is believed: as little as can be, unless the settings say otherwise."""
    keys = settings.trusted_keys or settings.data / "keys" / "trusted.json"
    return Trust(
        verifier=TrustedFile(keys) if settings.signatures == "required" else None,
        probe=ChildProbe(memory_mb=settings.probe_memory_mb, seconds=settings.probe_seconds),
        alarm=Watchdog(),
        limits=Limits(settings.model_bytes_max, settings.model_nodes_max),
    )


def build(settings: Settings, context: Context) -> ServingService:
    """The service of this process; its probe's fork server warms up meanwhile. Call it from the main thread."""
    warm()
    artifacts = settings.artifacts or str(settings.data / "artifacts")
    return ServingService(
        context, artifacts=artifacts, max_records=settings.max_records, threads=settings.scoring_threads,
        trust=trust_of(settings), artifacts_key=settings.artifact_key,
    )  # fmt: skip

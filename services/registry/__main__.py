"""Entry: ``python -m services.registry``."""

from millrace.bus.context import Context
from millrace.bus.service import main
from millrace.stores.artifacts import ArtifactStore
from services.registry.keys import known_keys, load_signers
from services.registry.settings import Settings
from services.registry.shell import RegistryService


def run() -> None:
    """Read the environment and serve until stopped."""
    settings = Settings()

    def build(context: Context) -> RegistryService:
        store = ArtifactStore(settings.artifacts or settings.data / "artifacts", settings.artifact_key)
        signers = load_signers(settings.keys_folder, create=settings.keys_create)
        known = known_keys(settings.keys_folder)
        return RegistryService(context, artifacts=store, database_url=settings.database, signers=signers, known=known)

    main("registry", settings, build)


if __name__ == "__main__":
    run()

"""The stores of ingest, as its settings name them."""

from urllib.parse import urlsplit

from pyarrow import fs

from millrace.bus.failpoints import failpoint
from millrace.contracts.project import Project
from millrace.stores.lake import Lake, s3_options
from millrace.stores.pepper import pepper_of
from millrace.stores.subject_keys import SubjectKeys
from millrace.telemetry.log import get_logger
from services.ingest.settings import Settings

log = get_logger(__name__)


def lake_of(settings: Settings, project: Project) -> Lake | None:
    """The stream's table; None where the settings say so."""
    if settings.lake_root is None:
        return None
    options = None
    if settings.lake_root.startswith("s3://"):
        secret = settings.lake_s3_secret_key
        if settings.lake_s3_access_key is not None and secret is not None:
            make_bucket(settings, settings.lake_root)
        options = s3_options(
            endpoint=settings.lake_s3_endpoint,
            key=settings.lake_s3_access_key,
            secret=None if secret is None else secret.get_secret_value(),
            region=settings.lake_s3_region,
        )
    return Lake(settings.lake_root, project.stream, project.data.lake, options, reached=failpoint)


def make_bucket(settings: Settings, root: str) -> None:
    """Make the bucket if it is missing. If that is not allowed it has to be there; the lake says so if it is not."""
    endpoint = urlsplit(settings.lake_s3_endpoint or "")
    assert settings.lake_s3_secret_key is not None, "the caller has looked"
    store = fs.S3FileSystem(
        access_key=settings.lake_s3_access_key,
        secret_key=settings.lake_s3_secret_key.get_secret_value(),
        region=settings.lake_s3_region,
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme or "https",
        allow_bucket_creation=True,
    )
    try:
        store.create_dir(urlsplit(root).netloc)
    except OSError as error:
        log.warning("the lake's bucket is not made", root=root, error=str(error))


def subject_keys_of(settings: Settings, project: Project) -> SubjectKeys | None:
    """The key store, where the stream has personal fields."""
    if project.personal is None:
        return None
    given = None if settings.pepper is None else settings.pepper.get_secret_value()
    pepper = pepper_of(given, settings.data / "subject-keys.pepper")
    return SubjectKeys(settings.subject_keys, pepper, project.stream)

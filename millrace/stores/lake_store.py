"""Where a lake table is, and how it is opened: a local folder or an object store, reached through deltalake."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError, TableNotFoundError

from millrace.stores.lake_errors import LakeGapError, LakeUnavailableError
from millrace.stores.lake_schema import COLUMNS, PERIOD

KEEP_ALL = {"delta.logRetentionDuration": "interval 36500 days", "delta.enableExpiredLogCleanup": "false"}
NO_CLEANING = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)


def s3_options(
    *, endpoint: str | None = None, key: str | None = None, secret: str | None = None, region: str = "us-east-1"
) -> dict[str, str]:
    """The ``storage_options`` of an S3-compatible store.

    ``endpoint`` is None for Amazon's own. ``key`` and ``secret`` are None where the environment, or the machine's
    role, gives them.

    Commits are put with ``If-None-Match: *``. A store that ignores that header would let two writers commit the same
    version, one of them for nothing; Amazon S3, MinIO, Ceph and R2 honour it.
    """
    options = {
        "aws_region": region,
        "aws_conditional_put": "etag",
        "connect_timeout": "5s",
        "timeout": "30s",
        "max_retries": "3",  # ours go on after these, with their own back-off, and are seen
        "retry_timeout": "20s",
    }
    if key is not None and secret is not None:
        options |= {"aws_access_key_id": key, "aws_secret_access_key": secret}
    if endpoint is not None:
        options |= {"aws_endpoint_url": endpoint, "aws_virtual_hosted_style_request": "false"}
        if endpoint.startswith("http://"):
            options["aws_allow_http"] = "true"
    return options


class LakeStore:
    """One table's place, and how to reach it."""

    def __init__(self, uri: str, options: Mapping[str, str]) -> None:
        self.uri = uri
        self.options = dict(options)

    def open(self, version: int | None = None) -> DeltaTable | None:
        """The table as of that version, or the newest; None if there is no table.

        Raises ``LakeGapError`` for a version that the table has not reached.
        """
        with self.asking("its state"):
            try:
                table = DeltaTable(self.uri, storage_options=self.options)
            except TableNotFoundError:
                return None
            newest = int(table.version())
            if version is not None and not 0 <= version <= newest:
                raise LakeGapError(f"{self.uri} has the versions 0 to {newest}; {version} was asked for")
            if version not in {None, newest}:
                table.load_as_version(version)
            return table

    def open_or_create(self) -> DeltaTable:
        """The newest state of the table, which is made if there is none."""
        table = self.open()
        if table is not None:
            return table
        schema = COLUMNS.append(pa.field(PERIOD, pa.string()))
        with self.asking("a new table"):
            try:
                DeltaTable.create(
                    self.uri, schema, partition_by=[PERIOD], configuration=KEEP_ALL, storage_options=self.options
                )
            except DeltaError:
                if self.open() is None:
                    raise  # it was not that another writer had been faster
            return DeltaTable(self.uri, storage_options=self.options)

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Whatever the store does wrong here is that it does not answer."""
        try:
            yield
        except (DeltaError, OSError) as error:
            raise LakeUnavailableError(f"the lake {self.uri} does not answer for {what}: {error}") from error

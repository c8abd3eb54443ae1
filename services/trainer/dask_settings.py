"""What the environment says about a Dask cluster: to the trainer, where it is; to a worker, where the lake is.

A worker belongs to no service, so it is not asked for what every service needs. It takes the same variables for the
lake as ingest does. Secrets stay with the process that needs them: none is sent to the cluster.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from millrace.contracts.data_policy import Lake as LakePolicy
from millrace.stores.lake import Lake, s3_options
from services.trainer.dask_reference import Cluster


class ClusterSettings(BaseSettings):
    """What the trainer is told."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_DASK_", frozen=True, extra="ignore")

    scheduler: str | None = Field(
        None,
        pattern=r"^(tcp|tls)://",
        description="Address of the Dask scheduler, tcp://host:8786 or tls://host:8786, for `training.backend: dask`.",
    )
    tls_ca_file: Path | None = Field(None, description="Certificates that sign those of the cluster.")
    tls_cert_file: Path | None = Field(None, description="The trainer's certificate for the cluster.")
    tls_key_file: Path | None = Field(None, description="The key of that certificate.")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        files = (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        if (self.scheduler or "").startswith("tls://") and None in files:
            msg = (
                f"MILLRACE_DASK_SCHEDULER is {self.scheduler}: set MILLRACE_DASK_TLS_CA_FILE, "
                "MILLRACE_DASK_TLS_CERT_FILE and MILLRACE_DASK_TLS_KEY_FILE too"
            )
            raise ValueError(msg)
        return self

    @property
    def cluster(self) -> Cluster | None:
        """The cluster; None if there is none."""
        if self.scheduler is None:
            return None
        ca, cert, key = (
            None if file is None else str(file) for file in (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        )
        return Cluster(self.scheduler, tls_ca_file=ca, tls_cert_file=cert, tls_key_file=key)


class WorkerSettings(BaseSettings):
    """What a worker is told."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", frozen=True, extra="ignore")

    lake: str | None = Field(None, description="Folder or s3:// address of the lake, as this worker reaches it.")
    lake_s3_endpoint: str | None = Field(None, description="URL of an S3-compatible store; default Amazon's.")
    lake_s3_region: str = Field("us-east-1", description="Region of the same.")
    lake_s3_access_key: str | None = Field(None, description="Access key id of the same; default by its own ways.")
    lake_s3_secret_key: SecretStr | None = Field(None, description="Secret of the access key.")

    @property
    def has_lake(self) -> bool:
        """Whether it was told of one."""
        return self.lake not in {None, "off"}

    def open_lake(self, stream: str) -> Lake:
        """The stream's table, for reading."""
        assert self.lake is not None, "asked only where there is a lake"
        secret = self.lake_s3_secret_key
        options = s3_options(
            endpoint=self.lake_s3_endpoint,
            key=self.lake_s3_access_key,
            secret=None if secret is None else secret.get_secret_value(),
            region=self.lake_s3_region,
        )
        return Lake(self.lake, stream, LakePolicy(), options if self.lake.startswith("s3://") else None)

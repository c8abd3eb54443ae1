"""What ingest is told by its environment."""

from pydantic import Field, SecretStr

from millrace.contracts.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of ingest."""

    max_records: int = Field(5000, ge=1, description="Most records that one transaction takes in.")
    trace_share: float = Field(0.01, ge=0, le=1, description="Share of events without a trace that start one.")
    lake: str | None = Field(
        None, description="Folder or s3:// address of the lake; default <data>/lake; `off` keeps none."
    )
    lake_s3_endpoint: str | None = Field(None, description="URL of an S3-compatible store; default Amazon's.")
    lake_s3_region: str = Field("us-east-1", description="Region of the same.")
    lake_s3_access_key: str | None = Field(None, description="Access key id of the same; default by its own ways.")
    lake_s3_secret_key: SecretStr | None = Field(None, description="Secret of the access key.")
    subject_keys_url: str | None = Field(
        None,
        repr=False,  # it may hold a password
        description="SQLAlchemy URL of the key store of personal data; default SQLite in <data>/subject-keys.db.",
    )
    pepper: SecretStr | None = Field(
        None, description="Secret of that key store, 32 characters at least; default a file <data>/subject-keys.pepper."
    )

    @property
    def lake_root(self) -> str | None:
        """Where the lake is; None for none."""
        if self.lake == "off":
            return None
        return self.lake or str((self.data / "lake").absolute())

    @property
    def subject_keys(self) -> str:
        """URL of the key store, with its default."""
        return self.subject_keys_url or f"sqlite:///{(self.data / 'subject-keys.db').absolute()}"

"""Every error that Millrace raises on purpose.

    MillraceError
    ├── ProjectError            the model owner's folder is wrong; the message names the file, the value and the way out
    ├── ContractError           a record breaks its contract; the record is at fault, the next one may be fine
    │   ├── UndecodableError        the bytes are not the Avro that they claim to be
    │   └── UnknownSchemaError      the schema id is not known to the registry
    ├── IncompatibleSchemaError the registry refuses a schema (409)
    ├── RegistryUnavailableError  the schema registry does not answer; try again later, dead-letter nothing
    ├── BusError                the log could not be read or written
    │   ├── FencedError             another process owns this partition now; stop, do not retry
    │   ├── UnclearError            the outcome of a commit is unknown; throw the producer away and recover
    │   ├── OffsetGoneError         retention removed an offset that is still needed; an operator must decide
    │   ├── RecordTooLargeError     one record is larger than the log accepts; nothing was written
    │   └── TopicMismatchError      a topic exists with other partitions than needed; an operator must decide
    ├── DeadLetterLimitError    too much had to be refused, ingest stops before it is written (services/ingest/limit.py)
    ├── LakeError               the lake is not as it must be (stores/lake_errors.py); the log still has everything
    ├── SubjectKeysError        the key store of personal data is not the right one (stores/pepper.py)
    └── ArtifactError           a model file is missing, damaged or not allowed; the last good one keeps serving
        └── ArtifactStoreUnavailableError  the artefact store does not answer; nothing is known about the file

Whether trying again can help is a property of the type: see ``retryable``.
"""

from typing import ClassVar


class MillraceError(Exception):
    """Base of all errors raised on purpose. ``retryable`` says whether the same call may succeed later."""

    retryable: ClassVar[bool] = False


class ProjectError(MillraceError):
    """The model project is wrong: names the file, the value seen, and what is accepted."""


class ContractError(MillraceError):
    """One record breaks its contract. ``reason`` is a stable slug, for metrics and dead letters."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UndecodableError(ContractError):
    """The bytes are not what the wire format promises."""

    def __init__(self, message: str) -> None:
        super().__init__("undecodable", message)


class UnknownSchemaError(ContractError):
    """The schema id in the record is not known to the schema registry."""

    def __init__(self, message: str) -> None:
        super().__init__("unknown-schema", message)


class IncompatibleSchemaError(MillraceError):
    """The schema registry refuses a schema because readers or writers in the field would break."""


class RegistryUnavailableError(MillraceError):
    """The schema registry does not answer. Nothing is decided about any record meanwhile."""

    retryable = True


class BusError(MillraceError):
    """The log could not be read or written."""

    retryable = True


class FencedError(BusError):
    """A newer owner holds this transactional id. The loser stops; trying again would only fence the winner."""

    retryable = False


class UnclearError(BusError):
    """A transaction ended without a clear answer. Only the committed offsets tell what happened."""


class OffsetGoneError(BusError):
    """Retention removed records that were still needed. Never skipped in silence."""

    retryable = False


class RecordTooLargeError(BusError):
    """One record is larger than the log accepts. Raised before anything is written: the producer stays usable."""

    retryable = False


class TopicMismatchError(BusError):
    """A topic exists with a number of partitions that its readers or writers cannot work with."""

    retryable = False


class ArtifactError(MillraceError):
    """A model file is missing, damaged, or holds something that is not allowed to be served."""


class ArtifactStoreUnavailableError(ArtifactError):
    """The artefact store does not answer. Nothing is decided about the file meanwhile."""

    retryable = True

"""Where the broker and the schema registry are: as the caller says, or as ``run.json`` of the data folder tells."""

from dataclasses import dataclass
from pathlib import Path

from millrace.local.errors import LocalError
from millrace.local.runfile import running


@dataclass(frozen=True, slots=True)
class Address:
    """What a client needs to know to talk to a running Millrace."""

    bootstrap_servers: str
    schema_registry_url: str


def resolve(data: Path, bootstrap: str | None, schema_registry: str | None) -> Address:
    """The addresses given, else those of what runs on the data folder.

    Raises:
        LocalError: only one of the two was given, or none and nothing runs there. Never a mixture of both sources: a
            broker of one system read with the schemas of another gives wrong answers, not errors.
    """
    if bootstrap and schema_registry:
        return Address(bootstrap, schema_registry)
    if bootstrap or schema_registry:
        missing = "--schema-registry" if bootstrap else "--bootstrap"
        raise LocalError(f"{missing} is missing: give both addresses, or neither to use what runs on {data}")
    info = running(data)
    if info is None:
        raise LocalError(
            f"nothing runs on {data}; start it with millrace up PROJECT --data {data}, or give --bootstrap and "
            "--schema-registry"
        )
    return Address(info.bootstrap_servers, info.schema_registry_url)

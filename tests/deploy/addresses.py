"""Whether everybody in the deployment is told the address of the one they mean."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import create_engine

from millrace.local.schema_registry import API
from tests.deploy.deployment import OURS, ROOT, Case, Deployment


def addresses_agree(files: Deployment) -> Iterator[Case]:
    """Whoever is told an address is told the one that somebody listens on, with the path, user and keys of that one."""
    advertised = dict(item.split("://") for item in files.environment("kafka")["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = dict(item.split("://") for item in files.environment("kafka")["KAFKA_LISTENERS"].split(","))
    for listener, address in advertised.items():
        same = listening.get(listener, "").rpartition(":")[2] == address.rpartition(":")[2]
        yield f"kafka {listener}", "" if same else f"{listener} is advertised as {address}, listens elsewhere"
    told = {name: files.environment(name) for name in OURS}
    names = ("MILLRACE_BOOTSTRAP_SERVERS", "MILLRACE_SCHEMA_REGISTRY_URL")
    told["prepare"] = dict(zip(names, files.command("prepare")[4::2], strict=True))
    registry = f"http://schema-registry:{_port(files, 'schema-registry')}{API}"
    for name, environment in told.items():
        bootstrap, url = environment["MILLRACE_BOOTSTRAP_SERVERS"], environment["MILLRACE_SCHEMA_REGISTRY_URL"]
        inside = advertised["PLAINTEXT"]
        yield name, "" if bootstrap == inside else f"{name} looks for Kafka at {bootstrap}, which is at {inside}"
        yield name, "" if url == registry else f"{name} looks for schemas at {url}, which are at {registry}"
        yield from _artifacts(files, name, environment)
    yield from _databases(files)
    source = files.datasources["datasources"][0]["url"]
    right = f"http://prometheus:{_port(files, 'prometheus')}"
    yield "grafana", "" if source == right else f"grafana looks for Prometheus at {source}"


def _port(files: Deployment, service: str) -> str:
    return str(files.services[service]["ports"][0]).rpartition(":")[2]


def _artifacts(files: Deployment, name: str, environment: dict[str, str]) -> Iterator[Case]:
    if "MILLRACE_ARTIFACTS" in environment:
        query = parse_qs(urlsplit(environment["MILLRACE_ARTIFACTS"]).query)
        host, _, port = query["endpoint_override"][0].partition(":")
        good = host == "store" and port in files.listened("store") and query["scheme"] == ["http"]
        yield name, "" if good else f"{name} looks for models at {host}:{port}, where no store listens"
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            same = environment.get(key) == files.environment("store")[key]
            yield f"{name}.{key}", "" if same else f"{name} has another {key} than the store"


def _databases(files: Deployment) -> Iterator[Case]:
    postgres = files.environment("postgres")
    url = create_engine(files.environment("registry")["MILLRACE_DATABASE_URL"]).url  # fails without the driver
    seen = (url.host, str(url.port), url.username, url.password, url.database)
    right = ("postgres", "5432", *(postgres[f"POSTGRES_{part}"] for part in ("USER", "PASSWORD", "DB")))
    yield "registry", "" if seen == right else f"registry looks for its database at {seen}, which is {right}"
    schemas = files.environment("schema-registry")
    script = (ROOT / "deploy/postgres/schemas.sh").read_text()
    database = urlsplit(schemas["APICURIO_DATASOURCE_URL"].removeprefix("jdbc:"))
    made = f"CREATE DATABASE {database.path[1:]} OWNER {schemas['APICURIO_DATASOURCE_USERNAME']};" in script
    same = schemas["APICURIO_DATASOURCE_PASSWORD"] == postgres["SCHEMAS_PASSWORD"]
    made = made and database.netloc == "postgres:5432"
    yield "schema-registry", "" if made and same else f"schema-registry looks for its database at {database.geturl()}"

"""What must hold between the deployment's files and the code.

Each check yields every case it saw: where, and what is wrong there ("" for nothing), so that a test can see both the
faults and how much was looked at.
"""

import base64
import fnmatch
import json
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec

import click

from millrace import __version__
from millrace.alerting.settings import AlertSettings
from millrace.cli.main import COMMANDS
from millrace.local.broker import SINGLE_BROKER
from tests.deploy.addresses import addresses_agree
from tests.deploy.deployment import (
    FOREIGN,
    OURS,
    ROOT,
    VARIABLE,
    Case,
    Deployment,
    declared,
    expressions,
    recorded,
    strings,
)  # fmt: skip

Check = Callable[[Deployment], Iterator[Case]]

PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.-]+)?")
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY")
OPTIONAL = {"ALERT_WEBHOOK_SECRET"}
MODULES = {name: "millrace.console" if name == "console" else f"services.{name}" for name in OURS}
SERVERS = ("kafka", "schema-registry", "postgres", "store", "prometheus")


def images_are_pinned(files: Deployment) -> Iterator[Case]:
    """Each image has a tag that names a version; ours names the project's."""
    for name, service in files.services.items():
        image = service["image"]
        ours = f"millrace:{__version__}" if "build" in service else image
        yield name, "" if PINNED.fullmatch(image) and image == ours else f"image {image}"
    for image in re.findall(r"^FROM (\S+)", files.dockerfile, re.MULTILINE):
        yield "Dockerfile", "" if PINNED.fullmatch(image) else f"image {image}"


def commands_exist(files: Deployment) -> Iterator[Case]:
    """What our image is told to run is there, and takes these arguments."""
    for name, service in files.services.items():
        if "build" in service:
            match files.command(name):
                case ["python", "-m", module]:
                    yield name, "" if _runs(module) and module == MODULES[name] else f"no module {module}"
                case ["millrace", command, *arguments]:
                    yield name, _refused(command, arguments)
                case other:
                    yield name, f"unknown command {other}"


def _runs(module: str) -> bool:
    try:
        return find_spec(f"{module}.__main__") is not None
    except ModuleNotFoundError:
        return False


def _refused(name: str, arguments: list[str]) -> str:
    """Why our command line would refuse this; "" if it would not."""
    if name not in COMMANDS:
        return f"no command millrace {name}"
    command: click.Command = import_module(f"millrace.cli.{name.replace('-', '_')}").command
    here = [str(ROOT / "examples/electricity") if word == "/project" else word for word in arguments]
    try:
        command.make_context(name, here)
    except click.ClickException as error:
        return error.format_message()
    return ""


def settings_are_read(files: Deployment) -> Iterator[Case]:
    """Every MILLRACE_ variable is a setting of its service it accepts; none that it needs is missing."""
    for name in OURS:
        settings = import_module(f"{MODULES[name]}.settings").Settings
        given = {
            key.removeprefix("MILLRACE_").lower(): value
            for key, value in files.environment(name).items()
            if key.startswith("MILLRACE_")
        }
        alerts = {field: given.pop(field) for field in list(given) if field.startswith("alert_")}
        for field in alerts:
            known = name == "console" and field.removeprefix("alert_") in AlertSettings.model_fields
            yield f"{name}.{field}", "" if known else f"{name} reads no such setting: {field}"
        for field in given:
            yield f"{name}.{field}", "" if field in settings.model_fields else f"{name} reads no such setting: {field}"
        needed = {field for field, info in settings.model_fields.items() if info.is_required()}
        for field in sorted(needed | ({"artifacts", "database_url"} & settings.model_fields.keys())):
            yield f"{name}.{field}", "" if field in given else f"{name} is not given {field}"
        try:
            settings(**{field: json.loads(value) if value[:1] in "{[" else value for field, value in given.items()})
        except ValueError as error:
            yield name, f"{name} refuses its settings: {error}"


def secrets_are_required(files: Deployment) -> Iterator[Case]:
    """Secrets come from .env alone: required, or optional and empty; listed in .env.example, given no value there."""
    example = dict(line.split("=", 1) for line in files.env_example.splitlines() if "=" in line and line[0] != "#")
    named = set()
    for where, text in strings(files.compose):
        for name, kind, default in VARIABLE.findall(text):
            secret = SECRET.search(name) is not None
            named |= {name} if secret else set()
            required = kind == ":?" or (name in OPTIONAL and (kind, default) == (":-", ""))
            good = required and example.get(name) == "" if secret else kind == ":-"
            yield where, "" if good else f"{where} names {name}, which is not required or not empty in .env.example"
        if SECRET.search(where):
            yield where, "" if VARIABLE.fullmatch(text) else f"{where} holds a secret"
    yield ".env.example", "" if named == example.keys() else f"lists {sorted(example)}, needed are {sorted(named)}"


def ports_are_local(files: Deployment) -> Iterator[Case]:
    """Published on 127.0.0.1 only, each once, and where our services listen."""
    seen: set[str] = set()
    for name, service in files.services.items():
        for mapping in service.get("ports", ()):
            host, outer, inner = ["", "", *str(mapping).split(":")][-3:]
            good = host == "127.0.0.1" and outer not in seen
            seen.add(outer)
            yield f"{name} {mapping}", "" if good else f"{name} publishes {mapping}"
            if name in OURS:
                environment = files.environment(name)
                right = (environment["MILLRACE_HTTP_PORT"], environment["MILLRACE_HTTP_HOST"]) == (inner, "0.0.0.0")
                yield f"{name} {inner}", "" if right else f"{name} publishes {inner}, listens elsewhere"


def dependencies_are_healthy(files: Deployment) -> Iterator[Case]:
    """A service waits for every server whose address it is told, and what is waited for can tell when it is ready."""
    for name, service in files.services.items():
        waits = service.get("depends_on", {})
        for target, how in waits.items():
            yield f"{name} -> {target}", _not_waitable(files, target, how["condition"])
        told = " ".join([*files.environment(name).values(), *files.command(name)])
        needed = {server for server in SERVERS if server != name and re.search(rf"[/=@ ,]?\b{server}:\d", told)}
        for target in sorted(needed | ({"prepare"} if name in OURS else set())):
            yield f"{name} needs {target}", "" if target in waits else f"{name} does not wait for {target}"


def _not_waitable(files: Deployment, target: str, condition: str) -> str:
    other = files.services.get(target)
    if other is None:
        return f"there is no {target}"
    if condition == "service_completed_successfully":
        return "" if other.get("restart") == "no" else f"{target} is waited for to end, but restarts"
    own = other.get("healthcheck", {})
    inherited = "build" in other and "HEALTHCHECK" in files.dockerfile and not own.get("disable")
    return "" if condition == "service_healthy" and ("test" in own or inherited) else f"{target} has no health check"


def prometheus_scrapes_all(files: Deployment) -> Iterator[Case]:
    """Exactly our services, at the ports where they listen; the rules are loaded, and alerts go to Alertmanager."""
    (job,) = files.prometheus["scrape_configs"]
    targets = [target for one in job["static_configs"] for target in one["targets"]]
    for target in [f"{name}:{files.environment(name)['MILLRACE_HTTP_PORT']}" for name in OURS]:
        yield target, "" if targets.count(target) == 1 else f"{target} is not scraped once: {targets}"
    yield "count", "" if len(targets) == len(OURS) else f"scrapes {targets}"
    managers = files.prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    right = [f"alertmanager:{port}" for port in sorted(files.listened("alertmanager"))]
    yield "alertmanager", "" if managers == right else f"alerts go to {managers}, Alertmanager is at {right}"
    yield "rules", "" if files.prometheus["rule_files"] == ["rules.yml"] else "rules.yml is not loaded"


def metrics_are_declared(files: Deployment) -> Iterator[Case]:
    """Every series and label in a query is one that our processes expose, or that a rule records."""
    known = {**FOREIGN, **declared(), **recorded(files)}
    for where, expression in expressions(files):
        bare = re.sub(r'"[^"]*"', '""', expression)
        series = set(re.findall(r"(?<![\w:])(?:\w+:)?(?:millrace|process)_\w+(?::\w+)?|\b(?:up|ALERTS)\b", bare))
        for name in sorted(series):
            yield f"{where}: {name}", "" if name in known else f"{where} asks for {name}, which nobody exposes"
        labels = {"job", "instance"}.union(*(known.get(name, ()) for name in series), _made(expression))
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", bare))
        grouped = re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", bare)
        used |= {label for group in grouped for label in re.findall(r"\w+", group)}
        for label in sorted(used):
            yield f"{where}: {label}", "" if label in labels else f"{where} uses the label {label}, which is not there"


def _made(expression: str) -> set[str]:
    """Labels that the expression makes itself."""
    return set(re.findall(r'label_replace\(.*?,\s*"(\w+)", "\$', expression, re.DOTALL))


def mounts_exist(files: Deployment) -> Iterator[Case]:
    """Files that are mounted exist and are read-only, volumes are declared, the project is where the settings say."""
    volumes = set()
    for name, service in files.services.items():
        for mount in service.get("volumes", ()):
            source, _target, *mode = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", mount).split(":")
            if source.startswith("."):
                good = (ROOT / source).exists() and mode == ["ro"]
                yield f"{name} {source}", "" if good else f"{name} mounts {mount}: missing, or not read-only"
            else:
                volumes.add(source)
        if name in OURS:
            folder = files.environment(name)["MILLRACE_PROJECT"]
            there = any(mount.endswith(f":{folder}:ro") for mount in service["volumes"])
            yield f"{name} project", "" if there else f"{name} has no project at {folder}"
    yield "volumes", "" if volumes == set(files.compose["volumes"]) else f"volumes {volumes} are used, others declared"


def broker_is_complete(files: Deployment) -> Iterator[Case]:
    """What a single broker must set is set as on a laptop."""
    environment = files.environment("kafka")
    for setting, value in SINGLE_BROKER.items():
        if re.search(r"replication\.factor|min\.isr|auto\.create|process\.roles|controller\.listener", setting):
            given = environment.get("KAFKA_" + setting.replace(".", "_").upper())
            yield setting, "" if given == value else f"kafka has {setting}={given}, {value} is needed"
    size = len(base64.urlsafe_b64decode(environment["CLUSTER_ID"] + "=="))
    yield "CLUSTER_ID", "" if size == 16 else f"CLUSTER_ID has {size} bytes, 16 are needed"


def image_is_built_right(files: Deployment) -> Iterator[Case]:
    """Hashes are required, what is copied exists and reaches the build, and nothing runs as root."""
    lines = files.dockerignore.splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    yield "allow-list", "" if "*" in lines else ".dockerignore lets everything through"
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", files.dockerfile, re.MULTILINE):
        for word in source.split():
            good = (ROOT / word).exists() and any(fnmatch.fnmatch(word, pattern) for pattern in allowed)
            yield f"COPY {word}", "" if good else f"{word} does not exist or does not reach the build"
    last = files.dockerfile.rpartition("\nFROM ")[2]
    for what in ("--require-hashes -r requirements.lock", "--no-deps"):
        yield what, "" if what in files.dockerfile else f"the Dockerfile does not use {what}"
    for what in (r"^USER (?!root|0)\w+$", r"^HEALTHCHECK ", r"^ARG SERVICE\b", r"services\.\$SERVICE"):
        yield what, "" if re.search(what, last, re.MULTILINE) else f"the Dockerfile's last stage lacks {what}"


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        images_are_pinned, commands_exist, settings_are_read, secrets_are_required, addresses_agree, ports_are_local,
        dependencies_are_healthy, prometheus_scrapes_all, metrics_are_declared, mounts_exist, broker_is_complete,
        image_is_built_right,
    )
}  # fmt: skip

"""``millrace check``: whether a model project is sound, before anything runs on it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.table import Table

from millrace.cli.feature_words import define
from millrace.cli.options import address_options, json_option, project_argument
from millrace.contracts.errors import ProjectError
from millrace.contracts.project import Project, load_project
from millrace.contracts.topics import specs

START_UP_S = (
    30.0  # a busy machine needs some seconds to import scikit-learn and onnxruntime; that is not the fit's time
)
LAST_WORDS = 600  # characters of a crashed pipeline's standard error that are shown


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature in words."""

    name: str
    definition: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known about a project. What needs a readable ``model.yaml`` is empty without one."""

    project: str
    findings: tuple[Finding, ...]
    stream: str | None = None
    model: str | None = None
    feature_set: str | None = None
    features: tuple[Feature, ...] = ()
    topics: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.ok for finding in self.findings)


@click.command("check")
@project_argument
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A changed schema of the event: say what it would do to the model, without registering it.",
)
@address_options
@json_option
def command(
    project: Path, schema: Path | None, data: Path, bootstrap: str | None, schema_registry: str | None, *,
    as_json: bool,
) -> None:  # fmt: skip
    """Say whether the model project in PROJECT is sound, and what its features mean. Exits with 1 if it is not.

    Reads model.yaml and the event's schema, then builds the pipeline in a process of its own, fits it on made-up rows,
    converts it to ONNX and compares the two. With --schema it says instead what a changed schema of the event would do:
    whether the registry takes it, and which features, rules and persons would be hit.
    """
    if schema is not None:
        _check_schema(project, schema, data, bootstrap, schema_registry, as_json=as_json)
        return
    report = examine(project)
    if as_json:
        click.echo(json.dumps({"ok": report.ok, **asdict(report)}))
    else:
        _show(report)
    if not report.ok:
        sys.exit(1)


def _check_schema(
    project: Path, schema: Path, data: Path, bootstrap: str | None, schema_registry: str | None, *, as_json: bool
) -> None:
    from millrace.cli import check_schema

    report = check_schema.examine_schema(
        project, schema, data=data, bootstrap=bootstrap, schema_registry=schema_registry
    )
    check_schema.show(report, as_json=as_json)
    if not report.ok:
        sys.exit(1)


def examine(folder: Path, *, start_up_s: float = START_UP_S) -> Report:
    """Look at everything; never raises for what is wrong with the project.

    The pipeline may take ``training.timeout_s``, and its process ``start_up_s`` more.
    """
    from services.monitor.policy import Policy  # river takes a second to load

    try:
        project = load_project(folder)
        Policy.of(project).check()  # the monitor would refuse it at its start
    except ProjectError as error:
        return Report(str(folder), (Finding("model.yaml", ok=False, message=str(error)),))
    schema = _schema(project)
    findings = [Finding("model.yaml", ok=True, message=f"stream {project.stream}, model {project.model}"), schema]
    if project.dataset is not None:
        findings.append(_dataset(project, project.dataset.file))
    if schema.ok:
        findings.append(_pipeline(project, start_up_s))
    return Report(
        str(folder),
        tuple(findings),
        project.stream,
        project.model,
        project.feature_set,
        tuple(Feature(spec.name, define(spec, project.label)) for spec in project.features),
        tuple(spec.name for spec in specs(project)),
    )


def _schema(project: Project) -> Finding:
    from millrace.contracts.schemas import Schema

    name = project.event.schema_file
    try:
        schema = Schema.of(project.event_schema)
    except ProjectError as error:
        return Finding(name, ok=False, message=str(error))
    return Finding(name, ok=True, message=f"record {schema.name} with {len(project.event_schema['fields'])} fields")


def _dataset(project: Project, file: str) -> Finding:
    path = project.folder / file
    if path.is_file():
        return Finding("dataset", ok=True, message=f"{file}, {path.stat().st_size:,} bytes")
    return Finding("dataset", ok=False, message=f"{path} is missing; put the file there, or remove the dataset section")


def _pipeline(project: Project, start_up_s: float) -> Finding:
    """Run the owner's code elsewhere and take its answer from a file: what it prints is its own business."""
    with TemporaryDirectory() as folder:
        answer, words = Path(folder) / "answer.json", Path(folder) / "stderr"
        argv = [sys.executable, "-m", "millrace.cli.check_pipeline", str(project.folder), str(answer)]
        try:
            with words.open("wb") as stderr:  # a file: a pipe would be held open by whatever the pipeline starts
                ended = subprocess.run(  # noqa: S603  # our own module, by our own Python
                    argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, check=False,
                    timeout=project.training.timeout_s + start_up_s,
                )  # fmt: skip
        except subprocess.TimeoutExpired:
            limit = f"{project.training.timeout_s:g} s (training.timeout_s)"
            return Finding("pipeline", ok=False, message=f"{project.training.pipeline} did not end within {limit}")
        if not answer.exists():
            last = words.read_text("utf-8", errors="replace").strip()[-LAST_WORDS:] or "it wrote nothing"
            message = f"{project.training.pipeline} ended its process with status {ended.returncode}: {last}"
            return Finding("pipeline", ok=False, message=message)
        found = json.loads(answer.read_text("utf-8"))
    if found["error"] is not None:
        return Finding("pipeline", ok=False, message=found["error"])
    return Finding("pipeline", ok=True, message=f"{project.training.pipeline} {found['message']}")


def _show(report: Report) -> None:
    """Print for people: the features, then what was found."""
    console = Console()
    if report.features:
        table = Table(title=f"Features of {report.model}, feature set {report.feature_set}", title_justify="left")
        table.add_column("feature", no_wrap=True)
        table.add_column("per entity, up to and including the present row", overflow="fold")
        for feature in report.features:
            table.add_row(feature.name, feature.definition)
        console.print(table, markup=False)
    for line in _lines(report):
        click.echo(line)


def _lines(report: Report) -> Iterator[str]:
    for finding in report.findings:
        mark = click.style("ok   ", fg="green") if finding.ok else click.style("WRONG", fg="red")
        yield f"{mark} {finding.name}: {finding.message}"
    yield "The project is sound." if report.ok else f"{report.project} cannot be run like this."

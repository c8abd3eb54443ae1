"""``millrace init``: a first model project that works as it stands, to be changed into one's own."""

import json
import re
from importlib import resources
from pathlib import Path
from string import Template

import click

from millrace.cli.options import json_option
from millrace.contracts.errors import ProjectError

TEMPLATES = ("model.yaml", "event.avsc", "pipeline.py")
SAMPLE = "sample.csv"
LONGEST_NAME = 60  # as contracts/project.py has it
_NAME = re.compile(r"[a-z][a-z0-9-]*")


@click.command("init")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--stream", metavar="NAME", help="Name of the stream; the folder's name unless given.")
@click.option("--model", metavar="NAME", help="Name of the model; the stream's name unless given.")
@json_option
def command(folder: Path, stream: str | None, model: str | None, *, as_json: bool) -> None:
    """Write a first model project into FOLDER: three commented files and a sample stream to try them on.

    Nothing that exists is overwritten.
    """
    stream = _checked("--stream", stream) if stream else suggested_name(folder.resolve().name)
    model = _checked("--model", model) if model else stream
    files = render(stream, model)
    write(folder, files)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "stream": stream, "model": model, "files": list(files)}))
    else:
        click.echo(_next_steps(folder, stream, list(files)))


def suggested_name(folder: str) -> str:
    """The nearest name that is allowed.

    >>> suggested_name("My Pumps_2")
    'my-pumps-2'
    >>> suggested_name("42")
    'stream-42'
    """
    name = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")
    return (name if _NAME.match(name) else f"stream-{name}".rstrip("-"))[:LONGEST_NAME].rstrip("-")


def render(stream: str, model: str) -> dict[str, str]:
    """The content of every file of the project, by name."""
    from millrace.cli.sample import sample_csv

    folder = resources.files("millrace.cli") / "templates"
    names = {"stream": stream, "model": model, "namespace": stream.replace("-", "_")}
    files = {name: Template((folder / name).read_text("utf-8")).substitute(names) for name in TEMPLATES}
    return {**files, SAMPLE: sample_csv()}


def write(folder: Path, files: dict[str, str]) -> None:
    """Write the files. Raises ``ProjectError``, with nothing written, if one is there or the folder cannot be had."""
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise ProjectError(f"{folder} already has {', '.join(there)}; nothing was written. Choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise ProjectError(f"{folder} cannot be written: {error.strerror}") from error


def _checked(option: str, name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise click.BadParameter(
            f"{name!r}: lower-case letters, digits and hyphens, a letter first, at most {LONGEST_NAME}",
            param_hint=option,
        )
    return name


def _next_steps(folder: Path, stream: str, files: list[str]) -> str:
    return f"""Wrote {", ".join(files)} to {folder}.

Try it:
  millrace check {folder}
    is it sound, and what do its features mean?
  millrace up {folder}
    broker, schema registry and the five services, until Ctrl-C
  millrace publish {folder} --rate 50
    in a second terminal: {SAMPLE} as events and labels, for a minute; half-way the machines change
  millrace models
    which versions came of it, and why each serves or not

Make it yours:
  event.avsc     the fields of your events
  model.yaml     their names, the label, the features; each line is explained
  pipeline.py    the scikit-learn estimator
  then send your own events to {stream}-events and the truth, once known, to {stream}-labels"""

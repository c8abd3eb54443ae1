"""``millrace sim``: the whole loop on the memory bus, twice with one seed, compared byte for byte."""

import dataclasses
import json
import tempfile
from pathlib import Path

import click

from millrace.contracts.errors import MillraceError


class NotRepeatableError(MillraceError):
    """Two runs of one seed differ: something in the loop depends on time, chance or threads."""


@click.command()
@click.argument("project", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seed", default=1, show_default=True, help="Draws the interleaving of the services.")
@click.option("--rows", default=20_000, show_default=True, help="Rows of the data set to publish.")
@click.option("--rate", default=500.0, show_default=True, help="Rows a virtual second.")
@click.option("--runs", default=2, show_default=True, type=click.IntRange(1), help="Runs of the same seed to compare.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(project: Path, seed: int, rows: int, rate: float, runs: int, *, as_json: bool) -> None:
    """Run all five services in one process, on a virtual clock, from PROJECT's data set.

    The seed draws how the services interleave. Runs of the same seed must give the same bytes on every topic; the
    command fails if they do not.
    """
    from millrace.contracts.project import load_project
    from millrace.sim.virtual_time import run
    from millrace.sim.world import Simulation
    from millrace.telemetry import log

    log.configure("simulation", level="WARNING")
    loaded = load_project(project)
    outcomes = []
    for number in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(Simulation(loaded, Path(folder), seed=seed, rows=rows, rate=rate).run())
        outcomes.append(outcome)
        if not as_json:
            click.echo(
                f"run {number + 1}: {outcome.rows} rows, {outcome.predictions} predictions since row "
                f"{outcome.first_row} ({outcome.duplicates} doubled), accuracy {outcome.accuracy:.4f}, "
                f"{outcome.alarms} alarms, "
                f"{outcome.requests} retrains, {len(outcome.versions)} deployments, {outcome.virtual_s:.1f} virtual "
                f"seconds, sha256 {outcome.digest[:16]}…"
            )
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(outcome) for outcome in outcomes], indent=2))
    if len({outcome.digest for outcome in outcomes}) > 1:
        raise NotRepeatableError(f"seed {seed} gave {[outcome.digest[:16] for outcome in outcomes]}; all must be equal")
    if not as_json:
        click.echo(f"seed {seed}: {runs} runs, equal byte for byte" if runs > 1 else f"seed {seed}: 1 run")

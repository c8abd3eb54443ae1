"""``millrace``: one command for the model owner, the operator and the newcomer.

Commands are found by name and imported only when they run, so that ``--help`` answers at once.
"""

import sys
from importlib import import_module

import click

from millrace import __version__
from millrace.contracts.errors import MillraceError

COMMANDS = {
    "demo": "Run the whole loop on the example, with a live view.",
    "demo-data": "Inject faults into the example's stream and show what catches each.",
    "demo-rollout": "Deploy bad models and show what stops each; time a rollback under load.",
    "up": "Run broker, schema registry and the five services until Ctrl-C.",
    "status": "Show what runs, where, and whether it is ready.",
    "doctor": "Look at everything from the machine up, and say what is wrong and how to mend it.",
    "init": "Write a first model project to start from.",
    "check": "Check a model project.",
    "publish": "Send a CSV or Parquet file as events and labels.",
    "models": "Show the versions of the models, and why each serves or not.",
    "history": "Tell a model's life: what served when, by whose word, why, and why nothing else did.",
    "promote": "Make a version the champion.",
    "rollback": "Give all traffic back to what served before.",
    "abort": "End the rollout under way.",
    "approve": "Agree that a version enters a space.",
    "reject": "Refuse a version for good.",
    "freeze": "Let nothing happen by itself but rolling back.",
    "unfreeze": "Let things happen by themselves again.",
    "kill": "End the rollout under way, and freeze.",
    "retire": "Take a version out, until somebody promotes it again; reject is for good.",
    "keys": "Make, list, rotate and revoke the keys that versions are signed with.",
    "retrain": "Ask for a retrain of the model.",
    "runs": "List, show, compare and export training runs, to MLflow too.",
    "reproduce": "Train a run again and compare the bytes of the model.",
    "dead-letters": "List, show and send back refused records.",
    "data": "Show the rows as a run, a version or a time saw them; report on a snapshot.",
    "explain": "Explain one prediction: answer, version, why it served, what each feature added, its label.",
    "lineage": "Walk from a prediction to the rows that trained its model, or from an event to all it touched.",
    "erase": "Erase a person: destroy the key, remove the rows, list what was trained on them.",
    "prepare": "Create a project's topics and register its schemas on existing servers.",
    "sim": "Run the whole loop in one process on a virtual clock.",
}
BESIDE = {"abort": "rollback", "reject": "approve", "unfreeze": "freeze", "kill": "freeze", "retire": "promote"}
"""Commands that stand in another one's module, under their own name."""


class Lazy(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they are met."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"millrace.cli.{BESIDE.get(cmd_name, cmd_name).replace('-', '_')}")
        command: click.Command = getattr(module, cmd_name if cmd_name in BESIDE else "command")
        command.short_help = COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="millrace")
def cli() -> None:
    """Machine learning in production as a closed loop over an event log."""


def main() -> None:
    """Entry of the ``millrace`` command: errors raised on purpose end as one clear message, status 1."""
    try:
        cli()
    except MillraceError as error:
        click.secho(f"millrace: {error}", err=True, fg="red")
        sys.exit(1)

"""``millrace keys``: the keys that versions are signed with, and which of them serving trusts."""

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import click

from millrace.cli.options import DATA, json_option
from millrace.stores.signing import (
    Signer,
    SigningError,
    TrustedKey,
    load_trusted,
    make_key,
    save_trusted,
)
from services.registry.keys import REVOKED, SIGNED, TRUSTED, trust


def folder_option(function: Callable[..., None]) -> Callable[..., None]:
    """Where the keys are; given to the command as ``folder``."""

    @click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=DATA, show_default=True,
                  help="The data folder given to millrace up; its keys are in the folder keys.")  # fmt: skip
    @click.option("--keys", type=click.Path(file_okay=False, path_type=Path),
                  help="The folder of the keys, where it is another one: MILLRACE_KEYS of the registry.")  # fmt: skip
    @wraps(function)
    def command_in(*args: object, data: Path, keys: Path | None, **more: object) -> None:
        function(*args, folder=keys or data / "keys", **more)

    return command_in


@click.group("keys")
def command() -> None:
    """Make, list, rotate and revoke the keys that versions are signed with.

    The registry signs, serving verifies. Private keys (SPACE.pem) belong to the registry alone; trusted.json goes to
    serving too.
    """


@command.command("init")
@folder_option
@json_option
def init(folder: Path, *, as_json: bool) -> None:
    """Make a key for each space that has none, and trust it."""
    made = [
        make_key(folder / f"{space}.pem", space).trusted for space in SIGNED if not (folder / f"{space}.pem").exists()
    ]
    trust(folder / TRUSTED, made)
    _show(made, as_json=as_json, none="Every space has its key already.")


@command.command("list")
@folder_option
@json_option
def list_keys(folder: Path, *, as_json: bool) -> None:
    """Show the keys that are trusted, and which of them sign now."""
    trusted = load_trusted(folder / TRUSTED)
    signing = signing_ids(folder)
    if as_json:
        click.echo(json.dumps([{**key.model_dump(), "signs": key.key_id in signing} for key in trusted]))
        return
    for key in trusted:
        signs = "signs" if key.key_id in signing else "trusted"
        click.echo(f"{key.key_id}  {key.space:<11} {signs:<8} models {', '.join(key.models)}")


@command.command("rotate")
@click.argument("space", type=click.Choice(SIGNED))
@folder_option
@json_option
def rotate(space: str, folder: Path, *, as_json: bool) -> None:
    """Sign with a new key from the next start of the registry on; what the old one signed goes on serving.

    Give trusted.json to every serving process before the registry starts again. When no version that the old key
    signed serves any more, take it out with millrace keys revoke.
    """
    path = folder / f"{space}.pem"
    old = Signer.load(path, space).trusted
    path.rename(folder / f"{space}-{old.key_id}.pem")
    new = make_key(path, space).trusted
    trust(folder / TRUSTED, [new])
    _show([new], as_json=as_json, none="")
    if not as_json:
        click.echo(
            f"the old key {old.key_id} is kept beside it and is still trusted. Restart the registry now; "
            f"when nothing that the old key signed serves any more: millrace keys revoke {old.key_id}"
        )


@command.command("revoke")
@click.argument("key_id")
@folder_option
@json_option
def revoke(key_id: str, folder: Path, *, as_json: bool) -> None:
    """Trust KEY_ID no longer: what it signed is refused from the next load on."""
    trusted = load_trusted(folder / TRUSTED)
    if key_id not in {key.key_id for key in trusted}:
        raise SigningError(f"{key_id} is not trusted; trusted are {sorted(key.key_id for key in trusted)}")
    if key_id in signing_ids(folder):
        raise SigningError(f"{key_id} signs new versions; rotate first, or nothing that is deployed can be loaded")
    trust(folder / REVOKED, [key for key in trusted if key.key_id == key_id])
    save_trusted(folder / TRUSTED, [key for key in trusted if key.key_id != key_id])
    click.echo(json.dumps({"revoked": key_id}) if as_json else f"{key_id} is no longer trusted")


def signing_ids(folder: Path) -> set[str]:
    """The ids of the keys that the registry would sign with."""
    paths = [(folder / f"{space}.pem", space) for space in SIGNED]
    return {Signer.load(path, space).trusted.key_id for path, space in paths if path.exists()}


def _show(keys: list[TrustedKey], *, as_json: bool, none: str) -> None:
    if as_json:
        click.echo(json.dumps([key.model_dump() for key in keys]))
        return
    for key in keys:
        click.echo(f"made {key.key_id} for {key.space}, trusted from now on")
    if not keys:
        click.echo(none)

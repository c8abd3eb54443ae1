"""Questions to the API of the registry that runs on a data folder."""

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

import click

from millrace.local.runfile import running

TIMEOUT_S = 10.0


def registry_url(data: Path) -> str:
    """Where the registry answers. Raises ``ClickException`` if none runs there."""
    info = running(data)
    if info is None:
        raise click.ClickException(f"nothing runs on {data}; start it with: millrace up PROJECT --data {data}")
    if "registry" not in info.services:
        raise click.ClickException(f"no registry runs on {data}, only {sorted(info.services)}; see: millrace status")
    return info.services["registry"].url


def model_path(name: str, *parts: object) -> str:
    """The path of what is asked about a model."""
    return "/".join(["/v1/models", *(quote(str(part), safe="") for part in (name, *parts))])


def ask(url: str, path: str) -> Any:
    """The registry's answer, as JSON. Raises ``ClickException`` in its own words, or because there is none."""
    try:
        return json.loads(ask_text(url, path))
    except ValueError as error:
        raise click.ClickException(f"the registry does not answer at {url}: {error}; see: millrace status") from error


def ask_text(url: str, path: str, accept: str = "application/json") -> str:
    """The same, as text of that kind."""
    try:
        with _opener().open(Request(url + path, headers={"Accept": accept}), timeout=TIMEOUT_S) as response:  # noqa: S310  # the address is http, from our own run file
            return str(response.read().decode())
    except HTTPError as error:
        with error:
            detail = error.read().decode(errors="replace")
        raise click.ClickException(f"the registry answered {error.code} to {path}: {detail}") from error
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the registry does not answer at {url}: {error}; see: millrace status") from error


def pages(url: str, path: str) -> list[Any]:
    """All pages of a list, newest first."""
    found, following = [], ""
    while True:
        page = ask(url, f"{path}?limit=1000{following}")
        found.append(page)
        if page["next"] is None:
            return found
        following = f"&cursor={quote(page['next'], safe='')}"


def _opener() -> OpenerDirector:
    """Straight to the address: a proxy from the environment must not be asked about this machine."""
    return build_opener(ProxyHandler({}))

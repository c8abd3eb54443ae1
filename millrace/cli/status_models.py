"""What each model serves and tries out, as the registry of a data folder tells it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from millrace.bus.clock import SystemClock
from millrace.cli.history_show import time_of
from millrace.cli.registry_http import ask, model_path
from millrace.local.runfile import RunInfo


@dataclass(frozen=True)
class ModelStatus:
    """One model. ``fault`` says why nothing is known about it."""

    model: str
    champion: int | None = None
    epoch: int | None = None
    rollouts: tuple[dict[str, Any], ...] = ()
    frozen: dict[str, Any] | None = None
    waiting: tuple[dict[str, Any], ...] = ()
    since_ms: int | None = None
    reason: str | None = None
    fault: str | None = None

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.fault is not None:
            yield f"{self.model}: {self.fault}"
            return
        what = "nothing is deployed yet" if self.champion is None else f"version {self.champion} is champion"
        yield f"{self.model}: {what}{'' if self.epoch is None else f' (epoch {self.epoch})'}"
        if self.since_ms is not None:
            yield f"  since {time_of(self.since_ms)}: {self.reason}"
        for other in self.waiting:
            yield f"  version {other['version']}: {other['why']}; millrace approve {self.model} {other['version']}"
        for rollout in self.rollouts:
            yield from _rollout(rollout)
        if self.frozen is not None:
            since = time_of(self.frozen["since_ms"])
            yield f"  frozen by {self.frozen['by']} since {since}: {self.frozen['reason']}"


def models_of(info: RunInfo) -> list[ModelStatus]:
    """Every model that the registry knows. A registry that does not answer is told as such; it is no error here."""
    if "registry" not in info.services:
        return []
    url = info.services["registry"].url
    try:
        names = [model["model"] for model in ask(url, "/v1/models")["models"]]
        return [_model(url, name) for name in names]
    except click.ClickException as error:
        return [ModelStatus("models", fault=error.message)]


def _model(url: str, name: str) -> ModelStatus:
    now_ms = SystemClock().now_ms() + 1000  # clocks of two processes; the whole life is not asked for
    known, tried = ask(url, model_path(name)), ask(url, model_path(name, "rollouts"))
    served = ask(url, f"{model_path(name, 'history')}?at={now_ms}")["served"]
    waiting = tuple(other for other in served["others"] if other["state"] == "waiting" and other["version"] is not None)
    return ModelStatus(
        name, known["champion"], known["epoch"], tuple(tried["rollouts"]), tried["frozen"], waiting,
        served["since_ms"], served["reason"],
    )  # fmt: skip


def _rollout(rollout: dict[str, Any]) -> Iterator[str]:
    began = time_of(rollout["began_at_ms"])
    how = f"{rollout['strategy']}, step {rollout['step']}, since {began}"
    yield f"  {rollout['rollout_id']}: {how}: {rollout['reason']}"
    arms = {(arm["variant"], arm["version"]): arm for arm in rollout["arms"]}
    for part in rollout["traffic"]:
        share = "unseen" if part["mode"] == "SHADOW" else f"{part['share'] * 100:.3g} %"
        said = f"  {share:>7}  version {part['version']} as {part['variant']}"
        arm = arms.get((part["variant"], part["version"]))
        yield f"  {said}{'' if arm is None else f': {_evidence(arm)}'}"
    for pair in rollout["total_pairs"]:
        difference = "-" if pair["difference"] is None else f"{pair['difference']:+.4g}"
        yield (
            f"    version {pair['version']} and the champion on {pair['paired_rows']} same events: "
            f"better on {pair['better_rows']}, worse on {pair['worse_rows']}, mean difference of loss {difference}"
        )


def _evidence(arm: dict[str, Any]) -> str:
    loss = "" if arm["loss"] is None else f", mean loss {arm['loss']:.4g} on {arm['labelled_rows']}"
    faults = f"{arm['error_rows']} errors, {arm['missing_rows']} missing"
    return f"{arm['answered_rows']} answered, {arm['scored_rows']} scored, {faults}{loss}"

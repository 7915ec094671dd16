"""``advisor.init`` called as ``wandb.init`` is: project, config and the rest become an experiment's run.

A project is an experiment, ``config`` the parameters. ``name``, ``group`` and ``job_type`` are attributes, which
filters find as ``meta.name`` and so on; tags and notes are what they are here. Accounts, resuming and what belongs
to W&B's server mean nothing here: what a script would notice is said once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from advisor.app import open as open_advisor
from advisor.compat import current
from advisor.compat.unsupported import say_once
from advisor.compat.wandb_config import read
from advisor.compat.wandb_disabled import DisabledRun
from advisor.compat.wandb_run import About, WandbRun
from advisor.tracking.attached import attach
from storage.records import Direction

log = logging.getLogger(__name__)

ARGUMENTS: Final = frozenset(
    "project name config group job_type id resume mode dir entity reinit save_code settings config_exclude_keys "
    "config_include_keys allow_val_change force resume_from fork_from tensorboard sync_tensorboard monitor_gym "
    "anonymous magic".split()
)
"""Arguments of ``wandb.init`` that ``advisor.init`` does not have: one of them tells who is calling."""
QUIET: Final = frozenset({"entity", "save_code", "settings", "force", "anonymous", "magic", "dir"})
"""Those that mean nothing here, and that no script would miss."""
VARIABLES: Final[Mapping[str, str]] = {
    "project": "WANDB_PROJECT",
    "name": "WANDB_NAME",
    "mode": "WANDB_MODE",
    "notes": "WANDB_NOTES",
    "group": "WANDB_RUN_GROUP",
}
"""Variables that are read, in W&B's shape only; ``WANDB_TAGS`` too. Never a key."""
PREVIOUS: Final = (None, False, "default", "return_previous")


def start(
    experiment: str | None,
    given: Mapping[str, Any],
    *,
    params: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
    objective: str | Sequence[str] | None = None,
    direction: Direction | Sequence[Direction] | None = None,
    seed: int | None = None,
    tags: str | Sequence[str] | None = None,
    notes: str | None = None,
    **settings: Any,
) -> WandbRun:
    """Start a run, or return the one that goes on, as ``wandb.init`` does.

    Parameters
    ----------
    experiment
        Wins over ``project`` where both are given.
    given
        The arguments among ``ARGUMENTS``, by name.
    params
        Taken together with ``config``.

    Raises
    ------
    ConfigError
        If the config cannot be read.
    StorageError, AdvisorError
        As ``advisor.open`` and ``Advisor.experiment`` do.
    """
    before = current.going_on()
    if isinstance(before, WandbRun) and given.get("reinit") in PREVIOUS:
        say_once("init again", "init() while a run goes on returns that run; reinit='finish_previous' starts another")
        return before
    if before is not None and given.get("reinit") != "create_new":
        before.finish()
    _say_what_is_not_done(given)
    told = _with_variables({**given, "notes": notes, "tags": tags}, experiment)
    about = _about(told, {**_config(given), **dict(params or {})})
    words: dict[str, Any] = {"tags": about.tags, "notes": [about.notes] if about.notes else []}
    name = experiment or about.project or "default"
    about = replace(about, project=about.project or name)
    attached = attach(name, any_experiment=True, **words)
    if attached is not None:
        run = WandbRun.shape(attached, replace(about, config=attached.params))
        _tell_what_stays(about.config, attached.params)
        run.config.update(about.config, allow_val_change=True)
        return run
    if str(told.get("mode") or "").lower() == "disabled":
        say_once("disabled", "mode='disabled': nothing of this run is kept")
        return DisabledRun(about)
    handle = open_advisor(store, **settings).experiment(name, objective=objective, direction=direction)
    return WandbRun.shape(handle.start(params=about.config, seed=seed, **words), about)


def _about(told: Mapping[str, Any], config: Mapping[str, Any]) -> About:
    tags = told["tags"]
    text = {key: None if told.get(key) is None else str(told[key]) for key in (*VARIABLES, "job_type", "id", "dir")}
    return About(
        project=text["project"],
        name=text["name"],
        notes=text["notes"],
        tags=tuple([tags] if isinstance(tags, str) else tags or ()),
        group=text["group"],
        job_type=text["job_type"],
        config=config,
        given_id=text["id"],
        folder=text["dir"],
        may_change=bool(told.get("allow_val_change")),
    )


def _config(given: Mapping[str, Any]) -> dict[str, Any]:
    config = read(given.get("config"))
    only, without = given.get("config_include_keys"), given.get("config_exclude_keys") or ()
    return {name: value for name, value in config.items() if (not only or name in only) and name not in without}


def _with_variables(told: dict[str, Any], experiment: str | None) -> dict[str, Any]:
    """Return the arguments, and what the environment says of those that were not given."""
    used = []
    for name, variable in VARIABLES.items():
        value = os.environ.get(variable, "").strip()
        if value and told.get(name) is None and not (name == "project" and experiment):
            told[name] = value
            used.append(variable)
    tags = [tag.strip() for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag.strip()]
    if tags and told.get("tags") is None:
        told["tags"] = tags
        used.append("WANDB_TAGS")
    if used:
        log.info("taken from the environment: %s", ", ".join(used))
    return told


def _say_what_is_not_done(given: Mapping[str, Any]) -> None:
    if given.get("resume") not in (None, False, "never") or given.get("resume_from") or given.get("fork_from"):
        say_once("resume", "a run that has ended is not resumed: this is a new one, with the id as its meta.wandb_id")
    for name in ("tensorboard", "sync_tensorboard", "monitor_gym"):
        if given.get(name):
            say_once(name, f"init({name}=True) does nothing here; what log() gets is kept")


def _tell_what_stays(config: Mapping[str, Any], suggested: Mapping[str, Any]) -> None:
    differs = [name for name, value in config.items() if name in suggested and suggested[name] != value]
    if differs:
        log.warning(
            "this run is about %s; the config's own %s not used: read config, as in a sweep",
            ", ".join(f"{name} = {suggested[name]!r}" for name in differs),
            "value is" if len(differs) == 1 else "values are",
        )

"""Options that several commands have in common, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_IN_FULL = {"min": "minimize", "max": "maximize"}


def _in_full(directions: list[str] | None) -> list[str] | None:
    return [_IN_FULL.get(one, one) for one in directions] if directions else directions


ObjectiveOption = Annotated[
    list[str] | None,
    typer.Option("--objective", metavar="METRIC", help="What the experiment is about; repeated for a trade-off."),
]
DirectionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--direction",
        metavar="minimize|maximize",
        callback=_in_full,
        help="Which way is better, one for each objective; min and max will do. Default: what it was, at first "
        "minimize.",
    ),
]
ReduceOption = Annotated[
    str | None,
    typer.Option("--reduce", metavar="HOW", help="How a curve becomes one value: best, last or mean-last-K."),
]
SpaceOption = Annotated[Path | None, typer.Option("--space", metavar="FILE", help="Search space, a YAML file.")]
HostOption = Annotated[
    str,
    typer.Option("--host", metavar="ADDRESS", help="Address to listen on; beyond this machine a token is asked for."),
]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65_535, metavar="N", help="Port; 0 takes a free one.")]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TEXT",
        envvar="ADVISOR_TOKEN",
        show_envvar=False,
        help="What every request has to bring, at least 16 characters; better given as $ADVISOR_TOKEN.",
    ),
]
AllowHostOption = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="Another name that it is asked for under, as of a proxy."),
]
SamplerOption = Annotated[
    str | None, typer.Option("--sampler", metavar="NAME", help="An Optuna sampler. Default: a stated rule chooses.")
]

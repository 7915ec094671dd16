"""Options that several commands have in common, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ObjectiveOption = Annotated[
    list[str] | None,
    typer.Option("--objective", metavar="METRIC", help="What the experiment is about; repeated for a trade-off."),
]
DirectionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--direction",
        metavar="minimize|maximize",
        help="Which way is better, one for each objective. Default: minimize.",
    ),
]
ReduceOption = Annotated[
    str | None,
    typer.Option("--reduce", metavar="HOW", help="How a curve becomes one value: best, last or mean-last-K."),
]
SpaceOption = Annotated[Path | None, typer.Option("--space", metavar="FILE", help="Search space, a YAML file.")]
SamplerOption = Annotated[
    str | None, typer.Option("--sampler", metavar="NAME", help="An Optuna sampler. Default: a stated rule chooses.")
]

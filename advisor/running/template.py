"""A command with places for parameters: ``python train.py --lr {lr}``.

``{name}`` stands for a parameter's value anywhere in an argument, ``{{`` and ``}}`` for braces. A parameter that has a
meaning only at times must be an option of its own, which is left out when it has none. Leaves out running the command.
Invariant: one argument of the template is one argument of the command or none, whatever the values hold; no shell ever
reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from advisor.errors import ConfigError
from storage.errors import did_you_mean

OF_THE_RUN: Final = ("run_id", "seed")
"""Places that are no parameters: the run's id and its seed. A parameter of the same name wins."""

_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FLAG: Final = re.compile(r"--?[^\W\d][^={}]*")
"""A flag whose value is the next argument; ``-1`` is a value, ``--a=b`` has its own."""
_WITH_NAME: Final = re.compile(r"(?:--?|[+~]{0,2})[^\W\d][^={}]*=\{[^{}]*\}")
"""An option with its value in one argument: ``--momentum={momentum}``, or ``opt.momentum={momentum}`` as in Hydra."""


@dataclass(frozen=True, slots=True)
class Template:
    """A command whose places have been checked; made by ``Template.parse``."""

    arguments: tuple[str, ...]
    """The command as it was given, the program first."""
    names: frozenset[str]
    """What it asks for: parameters, ``run_id``, ``seed``."""
    options: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Parameter that may have no meaning → places of the arguments that are left out then."""

    @classmethod
    def parse(
        cls, arguments: Sequence[str], parameters: Collection[str], *, conditional: Collection[str] = ()
    ) -> Template:
        """Return the template, once every place in it is a parameter.

        Parameters
        ----------
        arguments
            The program and its arguments.
        parameters
            Names of the parameters that are suggested.
        conditional
            Those of them that have a meaning only where others take certain values.

        Raises
        ------
        ConfigError
            If there is no program, a place is no parameter, a brace stands alone, or what holds a conditional parameter
            could not be left out.
        """
        if isinstance(arguments, str) or not arguments or not arguments[0].strip():
            raise ConfigError(
                f"{arguments!r} is no command; give a list of its words, for instance ['python', 'train.py', '{{lr}}']"
            )
        names: set[str] = set()
        for argument in arguments:
            for found in _PIECE.finditer(argument):
                if found[0] in ("{", "}"):
                    raise ConfigError(
                        f"the argument {argument!r:.200} has a lone {found[0]!r}; write {found[0] * 2} for the brace "
                        "itself, {name} for a parameter"
                    )
                if found[1] is not None:
                    names.add(found[1])
        for name in sorted(names):
            if name not in parameters and name not in OF_THE_RUN:
                raise ConfigError(
                    f"the command asks for {{{name}}}, which is no parameter; "
                    f"{did_you_mean(name, [*parameters, *OF_THE_RUN])} Braces themselves are written {{{{ and }}}}."
                )
        options = {name: _options_of(name, arguments) for name in sorted(names & set(conditional))}
        return cls(tuple(arguments), frozenset(names), options)

    def unused(self, parameters: Collection[str]) -> list[str]:
        """Return the parameters that the command does not ask for."""
        return sorted(set(parameters) - self.names)

    def fill(self, params: Mapping[str, Any], *, run_id: str, seed: int, inactive: Collection[str] = ()) -> list[str]:
        """Return the command for one run.

        Numbers are written so that they read back exactly; ``True``, ``False`` and ``None`` as Python writes them,
        text as it is, lists and mappings as JSON.

        Parameters
        ----------
        inactive
            Parameters that have no meaning this time; the options of those that are conditional are left out.

        Raises
        ------
        ConfigError
            If a parameter that the command asks for was not suggested.

        Examples
        --------
        >>> Template.parse(["train", "--lr={lr}", "{{x}}"], ["lr"]).fill({"lr": 1e-05}, run_id="r", seed=0)
        ['train', '--lr=1e-05', '{x}']
        >>> both = Template.parse(["train", "--lr", "{lr}", "--m", "{m}"], ["lr", "m"], conditional=["m"])
        >>> both.fill({"lr": 0.1}, run_id="r", seed=0, inactive=["m"])
        ['train', '--lr', '0.1']
        """
        values = {"run_id": run_id, "seed": seed, **params}
        left_out = {name for name in self.options if name in inactive and name not in values}
        places = {place for name in left_out for place in self.options[name]}
        missing = sorted(self.names - set(values) - left_out)
        if missing:
            raise ConfigError(
                f"the command asks for {{{missing[0]}}}, which was not suggested this time; declare a search space "
                "that has it: advisor experiment EXP --space space.yaml"
            )

        def put(found: re.Match[str]) -> str:
            return found[0][0] if found[1] is None else as_argument(values[found[1]])

        return [_PIECE.sub(put, each) for place, each in enumerate(self.arguments) if place not in places]


def _options_of(name: str, arguments: Sequence[str]) -> frozenset[int]:
    """Return the places of the arguments that are left out where a parameter has no meaning.

    Raises
    ------
    ConfigError
        If an argument holds more than the option, so that leaving it out would change something else.
    """
    places: set[int] = set()
    for place, argument in enumerate(arguments):
        if name not in (found[1] for found in _PIECE.finditer(argument)):
            continue
        if argument == f"{{{name}}}" and place > 1 and _FLAG.fullmatch(arguments[place - 1]):
            places |= {place - 1, place}
        elif place and _WITH_NAME.fullmatch(argument):
            places.add(place)
        else:
            raise ConfigError(
                f"the parameter {name!r} has a meaning only where others take certain values, and the argument "
                f"{argument!r:.200} cannot be left out where it has none; make it an option of its own, "
                f"--{name} {{{name}}} or --{name}={{{name}}}, or let the program read $ADVISOR_PARAMS"
            )
    return frozenset(places)


def as_argument(value: Any) -> str:
    """Return a value as one argument of a command.

    >>> [as_argument(value) for value in (0.1, True, None, "a b", [1, 2])]
    ['0.1', 'True', 'None', 'a b', '[1, 2]']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value)
    return str(value)

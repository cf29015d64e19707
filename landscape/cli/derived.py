"""A click command from a declared analysis: its points, its options, what every computation shares."""

import re
from collections.abc import Mapping
from typing import Any

import click

from landscape import analyses
from landscape.analyses.declare import Analysis
from landscape.analyses.options import Parameter
from landscape.choices import Data, LossName, Model
from landscape.cli.options import HOW, PAIRS, WHAT, Address, Command, Grouped, Named, shared, workers
from landscape.cli.words import told
from landscape.errors import BadInput
from landscape.specs import parse_arguments

NUMBERS = {int: click.INT, float: click.FLOAT}


def command(declared: Analysis) -> Command:
    """The command of an analysis. Values stay unchecked here, but for their kind: the library checks them."""
    presets = [_preset(declared)] if declared.presets else []
    brought = declared.brought.parameters if declared.source != "points" else []
    own = [_option(one, declared.name, WHAT) for one in brought]
    own += [
        _option(one, declared.name, HOW if one.about.is_how else WHAT) for one in declared.parameters.values()
    ]

    def run(**given: Any) -> None:
        from landscape.cli.run import run

        run(declared, given)

    made = Command(
        declared.name, callback=run, params=[*_places(declared), *presets, *own, *_shared(declared)]
    )
    made.help = _help(declared)
    made.short_help = declared.question
    return made


def _shared(declared: Analysis) -> list[click.Option]:
    """What every computation has, and workers where there is something for them to do."""
    has_tasks = any("executor" in one.handed for one in _kinds(declared))
    return [*shared(), *([workers()] if has_tasks else [])]


def kind_of(declared: Analysis, places: tuple[str, ...]) -> Analysis:
    """The analysis of a command for so many points: ``connect`` joins two, more are ``modes``."""
    others = [one for one in _kinds(declared) if len(places) in one.points]
    return others[0] if others else declared


def _kinds(declared: Analysis) -> list[Analysis]:
    """Every analysis its command may lead to."""
    return [analyses.declared(kind) for kind in analyses.commands()[declared.command]]


def from_command_line(declared: Analysis, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were typed, by the name of the parameter and in its terms; flags left away are left away."""
    known = {one.called: one for one in [*declared.parameters.values(), *declared.brought.parameters]}
    context = click.get_current_context()
    typed = {
        name: value
        for name, value in given.items()
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    values = {known[name].name: _value(known[name], value) for name, value in typed.items() if name in known}
    return values | ({"preset": given["preset"]} if given.get("preset") else {})


def _value(one: Parameter, value: Any) -> Any:
    if one.is_pairs:
        return parse_arguments(value)
    if one.about.unit != 1 and value is not None:
        return value * one.about.unit
    return value


def _places(declared: Analysis) -> list[click.Parameter]:
    if declared.source == "recipe":
        file = click.Argument(["points"], type=click.Path(), nargs=-1, metavar="[FILE]")
        return [file] if declared.stored else []
    if declared.source == "checkpoint":
        return [
            click.Argument(["points"], type=click.Path(), metavar=declared.metavar, nargs=-1, required=True)
        ]
    one = declared.points == (1,)
    needed = not declared.presets
    nargs = 1 if one else declared.points[0] if _is_fixed(declared) else -1  # type: ignore[index]
    metavar = declared.metavar if needed else f"[{declared.metavar}]"
    return [click.Argument(["points"], type=Address(), nargs=nargs, required=needed, metavar=metavar)]


def _is_fixed(declared: Analysis) -> bool:
    is_single = isinstance(declared.points, tuple) and len(declared.points) == 1
    return is_single and len(_kinds(declared)) == 1


def _preset(declared: Analysis) -> click.Option:
    help = "A published setting; other options override it."
    return Grouped(["--preset"], type=click.Choice(sorted(declared.presets)), help=help, group=WHAT)


def _option(one: Parameter, kind: str, group: str) -> click.Option:
    """The flag of a parameter: its kind, default, help and range in click's terms."""
    about: dict[str, Any] = {"help": told(one.about.help, kind), "group": group, "default": one.default}
    if one.is_pairs:
        about |= {"multiple": True, "metavar": PAIRS, "default": ()}
    elif one.scalar is bool:
        positive = f"{one.flag}/--no-{one.flag[2:]}" if one.default is not False else one.flag
        about |= {"is_flag": True, "show_default": bool(one.default)}
        return Grouped([positive, one.called], **about)
    elif one.about.is_repeated:
        about |= {"multiple": True, "show_default": True}
    elif one.length:
        about |= {"nargs": one.length, "type": (NUMBERS[one.scalar],) * one.length, "show_default": True}
    elif one.element:
        about |= {
            "type": Listed(one),
            "default": one.default,
            "show_default": one.stored(one.default) or False,
        }
    elif one.choices:
        about |= {"type": click.Choice(one.choices), "show_default": one.default is not None}
    else:
        about |= {"type": _number(one), "show_default": one.default not in (None, "")}
        if one.about.unit != 1 and one.default is not None:
            about["default"] = one.default / one.about.unit
    if one.about.metavar:
        about["metavar"] = one.about.metavar
    names = {"model": Model, "data": Data, "loss": LossName}
    if one.name in names:
        about["type"] = Named(names[one.name].__args__)  # type: ignore[attr-defined]
    return Grouped([one.flag, one.called], **about)


def _number(one: Parameter) -> click.ParamType:
    """The type whose range is shown in help; it is checked by the library, for every door alike."""
    least, above = one.about.least, one.about.above
    if one.scalar is str or (least is None and above is None):
        return NUMBERS.get(one.scalar, click.STRING)
    low = least if least is not None else above
    assert low is not None
    if one.scalar is int:
        return ShownInt(min=int(low), min_open=least is None)
    return ShownFloat(
        min=low, min_open=least is None, max=one.about.below, max_open=one.about.below is not None
    )


class ShownInt(click.IntRange):
    """A whole number, its range for the eye."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return click.INT.convert(value, param, ctx)


class ShownFloat(click.FloatRange):
    """A number, its range for the eye."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return click.FLOAT.convert(value, param, ctx)


class Listed(click.ParamType):
    """``1,2,5`` as a tuple of one kind; ``none`` and nothing as an empty one."""

    name = "list"

    def __init__(self, parameter: Parameter):
        self.parameter = parameter

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return {int: "INTEGERS", float: "NUMBERS"}.get(self.parameter.scalar, "NAMES")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",") if part.strip()]
        if "none" in parts and len(parts) > 1:
            others = ",".join(part for part in parts if part != "none")
            raise BadInput(
                f"{self.parameter.flag} {value!r}", "none, or others", f"give none alone, or {others}"
            )
        parts = [part for part in parts if part != "none"]
        try:
            found = tuple(self.parameter.scalar(part) for part in parts)
        except ValueError:
            what = "whole numbers" if self.parameter.scalar is int else "numbers"
            flag = self.parameter.flag
            raise BadInput(
                f"{flag} {value!r}", f"{what} with commas between", f"as in {flag} 1,2,5"
            ) from None
        return None if not found and self.parameter.default is None else found


def _help(declared: Analysis) -> str:
    """The question, what is computed, by whom, and examples."""
    about = re.sub(r":\w+:`~?[\w.]*?(\w+)`", r"\1", declared.about).replace("``", "")
    paper = [f"{declared.paper}."] if declared.paper else []
    examples = ["\b", *(f"landscape {declared.command} {one}" for one in declared.examples)]
    return "\n\n".join([declared.question, about, *paper, "\n".join(examples)])

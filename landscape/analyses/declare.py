"""What an analysis says of itself, once: its points, options, paper and examples. Nothing here is heavy.

A declared function is an ordinary one: places first, then options as keyword arguments that are annotated
``Annotated[kind, Option("help", least=1)]`` or ``Annotated[kind, "help"]``. Keyword arguments without ``Annotated`` are
handed in by the session where it knows their name (``test``, ``seed``, ``journal``, ``progress`` …). Options are
checked here, whether they come from Python or from a command line.
"""

import inspect
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from landscape import distributed
from landscape.analyses import DECLARED
from landscape.analyses.asked import asked_check
from landscape.analyses.options import SEED, Option, Parameter
from landscape.errors import BadInput
from landscape.result import Check

# The check that fails, too, where an analysis moved the points it was given.
UNTOUCHED = "module untouched"
Function = TypeVar("Function", bound=Callable[..., Any])
Options = dict[str, Any]
# (all options, the names of those that were given, the preset's values) -> all options
Settle = Callable[[Options, Container[str], Mapping[str, Any]], Options]


# What makes a changed module of the model.
MODIFY = (
    Parameter(
        "modify",
        str,
        "",
        Option(
            "exponential or requ: a changed module with a regulariser; noise: slopes of ReLU-like units times noise."
        ),
    ),
    Parameter(
        "modify_arg",
        Mapping[str, Any] | None,
        None,
        Option("Arguments of modify: regulariser=0.1 width=20; mean=0 deviation=1 of noise."),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Brought:
    """A module, data and a loss named in the command itself; None where there is no default."""

    model: str | None = "mlp"
    data: str | None = "digits"
    model_help: str = "As in landscape train."
    data_help: str = "As in landscape train."
    model_arg_help: str = "Arguments of the model."
    data_arg_help: str = "Arguments of the data."
    loss_help: str = "As in landscape train [default: follows the data]."
    may_modify: bool = False

    @property
    def names(self) -> list[str]:
        """Of these options."""
        return [one.name for one in self.parameters]

    @cached_property
    def parameters(self) -> list[Parameter]:
        """As options: model, model_arg, data, data_arg, target, loss; where it ``may_modify`` these as well."""
        pairs = Mapping[str, Any] | None
        return [
            Parameter("model", str, self.model, Option(self.model_help)),
            Parameter("model_arg", pairs, None, Option(self.model_arg_help)),
            Parameter("data", str, self.data, Option(self.data_help)),
            Parameter("data_arg", pairs, None, Option(self.data_arg_help)),
            Parameter(
                "target",
                str | None,
                None,
                Option("Column of a table, or array of an .npz, that is the target: price, or a,b."),
            ),
            Parameter("loss", str, "", Option(self.loss_help)),
            *(MODIFY if self.may_modify else ()),
        ]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One question: its name, the function that answers it, at which points, by whom.

    ``points`` holds the numbers of points it takes. ``source``: it looks at ``points`` of run files, begins from a
    ``recipe`` (a module, data and a loss, see :class:`Brought`), ``either``, or with a ``checkpoint`` for
    one. ``opens`` are options that the session itself follows (``l2``, ``at``, ``subsets``, ``seeds``,
    ``init``). ``presets`` are
    published settings by name, of options and of ``brought``; ``settled`` may adapt them to what was given.
    ``places(work, options)`` gives the positional arguments, by default the objective and its points.
    ``announced(objective, points, options)`` is told before the work. ``from_run(run, labels, options)`` gives, by
    name, what a function takes from the one run that all points are of. ``varies`` names arguments of the model that
    the first value of an option sets. Runs that are
    ``compared(options)`` are of one model, data and loss; narrower models of the same kind may stand beside the widest,
    whose objective is then the one looked at, where ``widened(objective, module, label)`` gives their points. A result
    that ``makes_run`` is itself a run file of its last point's model, or of the widest; where the option
    ``leaves_points`` is given, its file holds points of that model as well.
    ``needs`` says what it takes of samples, for its options, '' where nothing: a loss of the module alone has none.
    What begins from a recipe may look at one ``stored`` result of these kinds instead, by ``stored_options`` alone.
    ``dtype`` is that of what a recipe makes, where none is asked for. Where several processes were launched one
    that ``deals`` hands its tasks to them, each with all of the samples; the others share the samples. Dealt are
    trainings and searches, of which a sum over the processes at every step would cost more than the step, and
    tangent kernels, which have a row for every sample; all of these are then the same bit for bit. What takes losses
    and products over all samples shares these, one task being enough; so does one that ``takes_parts``, of a module
    that lies in parts in all of them.
    """

    name: str
    function: Callable[..., Any]
    command: str
    points: Container[int]
    metavar: str
    source: Literal["points", "recipe", "either", "checkpoint"]
    paper: str
    examples: Sequence[str]
    brought: Brought
    dtype: str
    opens: Sequence[Parameter]
    presets: Mapping[str, Mapping[str, Any]]
    settled: Settle | None
    places: Callable[[Any, Options], tuple[Any, ...]] | None
    announced: Callable[[Any, Any, Options], str | None] | None
    from_run: Callable[[Any, Sequence[str], Options], dict[str, Any]] | None
    varies: Mapping[str, str]
    compared: Callable[[Options], bool] | None
    widened: Callable[[Any, Any, str], Any] | None
    makes_run: bool
    leaves_points: str
    stored: Sequence[str]
    stored_options: Sequence[str]
    needs: str | Callable[[Options], str]
    deals: bool
    takes_parts: bool

    @cached_property
    def question(self) -> str:
        """The first line of its file."""
        module = sys.modules[self.function.__module__]
        return (inspect.getdoc(module) or inspect.getdoc(self.function) or self.name).splitlines()[0]

    @cached_property
    def about(self) -> str:
        """The first paragraph of the function's docstring: what is computed."""
        return (inspect.getdoc(self.function) or "").partition("\n\n")[0]

    def preset_of(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The setting that ``given`` names. Raises BadInput for an unknown one, and for another model beside it."""
        name, model = given.get("preset"), given.get("model")
        if name is None:
            return {}
        if name not in self.presets:
            raise BadInput(f"unknown preset {name!r}", f"one of {', '.join(self.presets) or '(none)'}")
        preset = self.presets[name]
        if model and preset.get("model", model) != model:
            raise BadInput(
                f"the preset {name}, which is of {preset['model']}, with `model` {model}",
                "one of the two",
                "leave one of them away",
            )
        return preset

    def require_samples(self, where: Sequence[Any], options: Options) -> None:
        """Raises BadInput for an objective without samples among ``where``, if they are needed with ``options``."""
        needed = self.needs(options) if callable(self.needs) else self.needs
        for one in _each(where):
            if needed and getattr(one, "is_closure", False):
                raise BadInput(
                    f"{self.name} of the loss {one.loss.name}, which takes the module alone",
                    f"samples: it needs {needed}",
                    "give `data` and a `loss` of (outputs, targets)",
                )

    def computed(self, *where: Any, **given: Any) -> Any:
        """What the function returns for checked options, with the notes of the objectives it was given.

        Of their doubts those that were found out meanwhile: an earlier call's are of its products, and what takes
        products itself says so. Where the points are not what they were, the check that says so fails.
        """
        from landscape.objective.kernels import exact, plain_modes
        from landscape.objective.objective import Objective

        places = self.places_of(where, given)
        points = [(one, one.sha256) for one in places if hasattr(one, "sha256")]
        objectives = [(one, one.doubts) for one in places if isinstance(one, Objective)]
        for one, _ in objectives:
            one.require_as_made()
            # What an earlier call met is not of this one.
            one.undefined.clear()
        own = self.parameters
        with plain_modes(), exact():
            result = self.function(*where, **given)
        result.require_one_length()
        result.checks += asked_check(
            result, {name: given.get(name, one.default) for name, one in own.items()}
        )
        if any(one.sha256 != before for one, before in points):
            result.checks = [_failed(one) if one.name == UNTOUCHED else one for one in result.checks]
        notes = [note for one, known in objectives for note in one.notes if note not in known]
        result.notes = list(dict.fromkeys([*notes, *result.notes]))
        return result

    @property
    def readme_row(self) -> str:
        """Its row in the table of commands."""
        return f"| `landscape {self.command}` | {self.question} | {self.paper + ' ' if self.paper else ''}|"

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Its options by the name of the parameter; those the session follows come last."""
        found = {}
        for name, one in inspect.signature(self.function).parameters.items():
            annotation = one.annotation
            if isinstance(annotation, str):
                annotation = _evaluated(annotation, vars(sys.modules[self.function.__module__]))
            if get_origin(annotation) is Annotated:
                kind, about = get_args(annotation)
                about = about if isinstance(about, Option) else Option(about)
                found[name] = Parameter(name, kind, one.default, about)
        return {**found, **{one.name: one for one in self.opens}}

    @cached_property
    def handed(self) -> frozenset[str]:
        """The names of what it takes beside its options."""
        return frozenset(inspect.signature(self.function).parameters) - self.parameters.keys()

    def places_of(self, where: Sequence[Any], given: Mapping[str, Any]) -> list[Any]:
        """What is given by position, and what might be and is given by name: objectives and points, those in lists."""
        found = inspect.signature(self.function).parameters.values()
        names = [one.name for one in found if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        return list(_each([*where, *(given[name] for name in names if name in given)]))

    @property
    def is_resumable(self) -> bool:
        """Whether it remembers finished pieces."""
        return "journal" in self.handed


def _each(places: Any) -> Iterator[Any]:
    """Places, those in lists as well."""
    for one in places:
        yield from _each(one) if isinstance(one, list | tuple) else (one,)


def _failed(check: Check) -> Check:
    return replace(check, value=1.0, meaning=f"{check.meaning}; the points given are not what they were")


def _evaluated(annotation: str, names: dict[str, Any]) -> Any:
    """What an annotation stands for; None where it names what is imported for types alone, as no option does."""
    try:
        return eval(annotation, names)
    except NameError:
        if "Annotated[" in annotation:
            raise
        return None


def analysis(
    *,
    name: str = "",
    command: str = "",
    points: int | Container[int] = 1,
    metavar: str = "",
    source: Literal["points", "recipe", "either", "checkpoint"] = "points",
    paper: str = "",
    examples: Sequence[str] = (),
    brought: Brought | None = None,
    dtype: str = "float32",
    opens: Sequence[Parameter] = (),
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    settled: Settle | None = None,
    places: Callable[[Any, Options], tuple[Any, ...]] | None = None,
    announced: Callable[[Any, Any, Options], str | None] | None = None,
    from_run: Callable[[Any, Sequence[str], Options], dict[str, Any]] | None = None,
    varies: Mapping[str, str] | None = None,
    compared: Callable[[Options], bool] | None = None,
    widened: Callable[[Any, Any, str], Any] | None = None,
    makes_run: bool = False,
    leaves_points: str = "",
    stored: Sequence[str] = (),
    stored_options: Sequence[str] = (),
    needs: str | Callable[[Options], str] = "",
    deals: bool = False,
    takes_parts: bool = False,
) -> Callable[[Function], Function]:
    """Declares the function below as an :class:`Analysis`, named like the function unless ``name`` says otherwise.

    The function then raises BadInput for an option that is not what its annotation says.
    """

    def declare(function: Function) -> Function:
        own = name or function.__name__
        numbers = (points,) if isinstance(points, int) else points
        declared = Analysis(
            name=own,
            function=function,
            command=command or own,
            points=numbers,
            metavar=metavar
            or {0: "", 1: "POINT", 2: "A B"}.get(points if isinstance(points, int) else -1, "POINTS"),
            source=source,
            paper=paper,
            examples=examples,
            brought=brought or Brought(),
            dtype=dtype,
            opens=opens,
            presets=presets or {},
            settled=settled,
            places=places,
            announced=announced,
            from_run=from_run,
            varies=varies or {},
            compared=compared,
            widened=widened,
            makes_run=makes_run,
            leaves_points=leaves_points,
            stored=stored,
            stored_options=stored_options,
            needs=needs,
            deals=deals,
            takes_parts=takes_parts,
        )

        @wraps(function)
        def checked(*where: Any, **given: Any) -> Any:
            known = {**declared.parameters, SEED.name: SEED}
            given = {k: known[k].checked(v) if k in known else v for k, v in given.items()}
            declared.require_samples(declared.places_of(where, given), given)
            if distributed.num_processes() > 1:
                from landscape.objective.identity import parts_of_call

                distributed.require_same(parts_of_call(own, where, given))
            return declared.computed(*where, **given)

        DECLARED[own] = declared
        return checked  # pyright: ignore[reportReturnType]

    return declare

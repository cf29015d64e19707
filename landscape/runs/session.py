"""How an answer is computed: from a question and places to a published result, for Python and the command line alike.

A place is an address into a run file (``a.h5``, ``a.h5@init``), or an objective in memory with points of its own; some
questions begin with a model, data and a loss instead.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from landscape import analyses
from landscape.analyses.declare import Analysis, Options
from landscape.errors import BadInput
from landscape.inputs import checkpoints
from landscape.objective import Objective
from landscape.progress import Progress, silent
from landscape.result import Result
from landscape.runs import sources
from landscape.runs.address import default_output, points_of
from landscape.runs.assumed import assumed
from landscape.runs.begun import begun_checks, points_of_runs
from landscape.runs.beside import Places, Trajectories, require_same, shapes_at, widest
from landscape.runs.device import device, processes
from landscape.runs.imports import Imports, beginning, completed, imports
from landscape.runs.in_memory import in_memory
from landscape.runs.publish import Answer, Order, Say, Work, publish, unheard
from landscape.runs.recipe import DTYPES, Recipe, recipe_of
from landscape.runs.run import Run
from landscape.runs.settings import NAMES, Settings, called
from landscape.runs.stored import of_stored


def measure(places: Any, kind: str, *, progress: Progress = silent, **given: Any) -> Result:
    """The result of the analysis ``kind`` at ``places``: what ``landscape kind places …`` computes and publishes.

    ``places``: an address (``"a.h5"``, ``"a.h5@init"``) or several; an objective, alone or followed by its points; None
    for what begins with a model (``train``, ``minima``, ``efficiency``), which is then given as ``model``,
    ``model_arg``, ``data``, ``data_arg`` and ``loss``; for ``import`` the paths of weights. ``given`` are these,
    options of the analysis and :class:`~landscape.runs.settings.Settings`. The result is written beside the first run
    file, or to ``output``; it is taken from there where the same call has made it, and goes on where the same call was
    stopped. An objective has no file to stand beside: without ``output`` its result is only returned.

    Raises BadInput for what does not fit, and Interrupted for Ctrl-C.
    """
    declared = analyses.declared(kind)
    brought = declared.brought.names if _may_bring(declared) else []
    known = [*declared.parameters, *NAMES, "preset", *brought]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else ""
            raise BadInput(f"{kind} has no option {name!r}", f"one of {', '.join(sorted(known))}", remedy)
    words = [_named(places), repr(kind), *(f"{name}={value!r}" for name, value in given.items())]
    command = f"landscape.measure({', '.join(words)})"
    options = {name: value for name, value in given.items() if name not in NAMES}
    settings = called(command, {name: given[name] for name in given.keys() & NAMES})
    return answer(places, kind, options, settings, progress=progress).result


def answer(
    places: Any,
    kind: str,
    given: Options,
    settings: Settings,
    *,
    progress: Progress = silent,
    say: Say = unheard,
) -> Answer:
    """:func:`measure` with where the result stands, and remarks for ``say``; ``given`` are options alone."""
    with processes(device(settings.device), settings.command):
        return _answer(places, kind, given, settings, progress, say)


def _answer(
    places: Any, kind: str, given: Options, settings: Settings, progress: Progress, say: Say
) -> Answer:
    if settings.workers is not None and "executor" not in analyses.declared(kind).handed:
        raise BadInput(f"`workers` for {kind}", "none: it has no independent tasks", "leave it out")
    found = _ordered(places, kind, given, settings, say)
    return found if isinstance(found, Answer) else publish(*found, settings, progress, say)


def _again(places: list[str], kind: str, given: Options, settings: Settings) -> Order:
    """An order as another process makes it."""
    found = _ordered(places, kind, given, settings, unheard)
    assert not isinstance(found, Answer)
    return found[0]


def _ordered(
    places: Any, kind: str, given: Options, settings: Settings, say: Say
) -> tuple[Order, Path | None] | Answer:
    """The computation that is asked for and where its result goes; the answer where a stored result gives it."""
    declared = analyses.declared(kind)
    found = list(places) if isinstance(places, list | tuple) else [] if places is None else [places]
    texts = [str(one) for one in found if isinstance(one, str | Path)]
    again = partial(_again, texts, kind, given, replace(settings, trust=True))
    output, brought = settings.output, None
    if declared.source == "checkpoint" and not (found and isinstance(found[0], Objective)):
        brought = imports(found, given, settings)
    elif given.get("init") is not None and "init" in {one.name for one in declared.opens}:
        brought = beginning(given["init"], settings)
        given = {**given, "init": brought.named}
    if brought:
        brought.names_data = bool(given.get("data"))
        given = completed(brought, given)
    options, recipe = settled(declared, given)
    if found and isinstance(found[0], Objective):
        _require_places(declared, len(found[1:]) or 1)
        stored, analyse = _stored(declared, options), _analyse(declared, options, say)
        order = in_memory(declared, options, found[0], found[1:], settings, stored, analyse)
        return order, output
    if declared.source in ("points", "either"):
        if found and options.get("preset"):
            raise BadInput("both a point and a preset given", "one of them")
        beside = [name for name in declared.brought.names if given.get(name)] if found else []
        if beside and declared.source == "either":
            raise BadInput(
                f"both a point and a `{beside[0]}` given",
                "one of them: the module, data and loss are those of the point's run",
                f"leave `{beside[0]}` away, or export its weights and import them with what is new",
            )
        if found or not declared.presets:
            order, output = _at_addresses(declared, options, [str(one) for one in found], settings, say)
            return order._replace(again=again, deals=declared.deals, takes_parts=declared.takes_parts), output
        if not options["preset"] and (
            declared.source == "points" or not (recipe.model and (recipe.data or recipe.loss))
        ):
            more = ", a preset nor a `model` with `data`" if declared.source == "either" else " nor a preset"
            raise BadInput(f"neither a point{more} given", "one of them")
        output = output or (Path(f"{options['preset']}.{kind}.h5") if options["preset"] else None)
    elif found and declared.stored:
        return of_stored(declared, options, given, found, settings, _stored(declared, options))
    elif found and brought is None:
        raise BadInput(f"{_named(found[0])} for {kind}", "a `model`, `data` and a `loss`, and no points")
    if output is None:
        raise BadInput("no output", "the name of the run file", "give `output` a.h5")
    order = _from_recipe(declared, options, recipe, brought, output, settings, say)
    return order._replace(again=again, deals=declared.deals, takes_parts=declared.takes_parts), output


def settled(declared: Analysis, given: Mapping[str, Any]) -> tuple[Options, Recipe]:
    """Every option by parameter name, checked, and the recipe: what was given, then the preset's, then defaults."""
    preset = declared.preset_of(given)
    brought = declared.brought
    whole = {**{one.name: one.default for one in brought.parameters}, **preset}
    whole |= {key: one for key, one in given.items() if one is not None or key not in brought.names}
    known = declared.parameters
    values = {key: whole.get(key, one.default) for key, one in known.items()}
    if declared.settled:
        values = declared.settled(values, given.keys(), preset)
    options = {key: known[key].checked(value) for key, value in values.items()}
    if declared.presets:
        options["preset"] = given.get("preset")
    names_data = "data" in given or "data" in preset
    return options, recipe_of(whole, is_of_weights=declared.source == "checkpoint", names_data=names_data)


def _may_bring(declared: Analysis) -> bool:
    """Whether it can begin with a model of its own."""
    return declared.source != "points" or bool(declared.presets)


def _at_addresses(
    declared: Analysis,
    options: Options,
    texts: list[str],
    settings: Settings,
    say: Say,
) -> tuple[Order, Path]:
    """An analysis at points of run files; its result goes beside the first of them unless an output is given."""
    _require_places(declared, len(texts))
    if options.get("at") is not None:
        texts = points_of(texts[0], options["at"], verify=settings.verify)
    places = Places(texts, options.get("mark", ()), settings)
    runs, labels, inputs = places.runs, places.labels, places.inputs
    base = widest(runs, labels) if declared.widened else runs[0]
    if declared.compared and declared.compared(options):
        require_same(base, places.every_run, but_for_width=declared.widened is not None)
    dtype, machine = settings.dtype or base.dtype, device(settings.device, settings.dtype)
    config = {
        "kind": declared.name,
        "inputs": [{"sha256": one["sha256"], "point": one["point"]} for one in inputs],
        "dtype": dtype,
        "device": machine.partition(":")[0],
        "seed": settings.seed,
        "subset": settings.subset,
        "options": _stored(declared, options) | ({"mark": places.marked} if places.marked else {}),
    }
    output = settings.output or default_output(declared, [run.path for run in runs])
    config |= _contents(base.sources, settings.training or base.training)
    recorded = None
    if declared.makes_run or options.get(declared.leaves_points):
        made_of = base if declared.widened else runs[-1]
        config["recipe"] = made_of.recipe.stored()
        recorded = made_of.sources.recorded(output)

    def prepare() -> Work:
        opened, *others = (
            base.objectives(
                dtype=dtype,
                device=machine,
                chunk_size=settings.chunk_size,
                subset=settings.subset,
                seed=settings.seed + number,
                data_dir=settings.data_dir,
                l2=options.get("l2", 0.0),
                training=settings.training,
            )
            for number in range(_num_subsets(declared, options, settings))
        )
        points = points_of_runs(
            places.every_run, places.every_label, opened.train, first=base, widened=declared.widened
        )
        trajectory = base.trajectory(opened.train)
        trajectories = Trajectories(runs, opened.train, {base: trajectory})
        is_of_one_run = len(set(runs)) == 1
        return Work(
            opened.train,
            opened.test,
            points[: len(runs)],
            trajectory=trajectory,
            of_run=declared.from_run(runs[0], labels, options) if declared.from_run and is_of_one_run else {},
            notes=[*opened.notes, *places.notes, *(_narrower(runs, base) if declared.widened else ())],
            others=[one.train for one in others],
            trajectories=trajectories,
            marks=places.seen(points),
            fresh=sources.Fresh(base.sources, base.sources.recipe),
            proofs=lambda: begun_checks(
                places.every_run,
                places.every_label,
                opened,
                points,
                trajectories.seen,
                settings.seed,
                first=base,
            ),
        )

    analyse = _analyse(declared, options, say)
    return Order(config, inputs, dtype, prepare, analyse, declared.is_resumable, recorded), output


def _from_recipe(
    declared: Analysis,
    options: Options,
    recipe: Recipe,
    brought: Imports | None,
    output: Path,
    settings: Settings,
    say: Say,
) -> Order:
    """A computation that begins with a module, data and a loss: trained, imported, or many of them."""
    first = {name: options[values][0] for name, values in declared.varies.items() if options[values]}
    twice = sorted(first.keys() & recipe.model_arguments.keys())
    if twice:
        raise BadInput(
            f"the model's argument {twice[0]}, which `{declared.varies[twice[0]]}` sets",
            "each argument once",
            f"leave {twice[0]} out of `model_arg`",
        )
    recipe = replace(recipe, model_arguments={**recipe.model_arguments, **first})
    recipe = replace(recipe, seed=settings.seed, subset=settings.subset)
    recipe = brought.of(recipe, settings) if brought else recipe
    inputs = brought.inputs if brought else []
    own, where = sources.named(recipe), device(settings.device, settings.dtype)
    with own.opened():
        least = brought.dtype if brought else declared.dtype
        followed = recipe.followed(settings.data_dir, settings.dtype, least, declared.brought.data)
    recipe, data, dtype = followed[:3]
    config = {
        "kind": declared.name,
        "inputs": [{name: part for name, part in one.items() if name != "path"} for one in inputs],
        "dtype": dtype,
        "device": where.partition(":")[0],
        "seed": settings.seed,
        "recipe": recipe.stored(),
        "options": _stored(declared, options),
        **_contents(own, settings.training),
    }
    how: dict[str, Any] = {"dtype": DTYPES[dtype], "device": where, "chunk_size": settings.chunk_size}
    how |= {"training": settings.training, "l2": options.get("l2", 0.0)}

    def prepare() -> Work:
        with own.opened():
            module, states = recipe.module(), []
            if brought:
                if dtype != "float32" or settings.dtype is not None:
                    # Before the weights come in, which would else be rounded to what the factory made.
                    module = checkpoints.in_dtype(module, DTYPES[dtype])
                states = brought.states(module)
            objectives = recipe.objectives(module, data, **how)
        train = objectives.train
        rounded = brought.rounded(dtype) if brought and settings.dtype is None else []
        is_import = declared.source == "checkpoint"
        points = brought.points(train, states) if brought and is_import else [train.present_point("init")]
        return Work(
            train,
            objectives.test,
            points,
            notes=[*(brought.changes(recipe) if brought else ()), *rounded, *objectives.notes],
            variant=variant,
            fresh=sources.Fresh(own, recipe),
            proofs=brought.proofs(train, states, points) if brought else list,
            assumed=assumed(train, followed, settings, brought=brought.floats if brought else ()),
        )

    def variant(seed: int, arguments: dict[str, Any]) -> Objective:
        other = replace(recipe, seed=seed, model_arguments={**recipe.model_arguments, **arguments})
        with own.opened():
            return other.objectives(other.module(), data, **how).train

    analyse = _analyse(declared, options, say)
    recorded = own.recorded(output)
    return Order(config, inputs, dtype, prepare, analyse, declared.is_resumable, recorded)


def _narrower(runs: list[Run], base: Run) -> list[str]:
    """What is to be said of runs of narrower models than that of ``base``."""
    shapes = {run: shapes_at(run, run.labels[-1]) for run in {*runs, base}}
    return [
        f"{run.path.name} is {run.recipe.described()}, a point of {base.recipe.described()} with 0 for what it lacks: "
        "in a mean with others the units that it lacks are the smaller for it"
        for run in dict.fromkeys(runs)
        if shapes[run] != shapes[base]
    ]


def _analyse(declared: Analysis, options: Options, say: Say) -> Callable[[Work], Result]:
    """The declared function with what it asks for by name, at the places it takes."""
    followed = {one.name for one in declared.opens} | {"preset"}
    own = {name: value for name, value in options.items() if name not in followed}

    def analyse(work: Work) -> Result:
        declared.require_samples([work.objective], own)
        if declared.announced and (text := declared.announced(work.objective, work.points, options)):
            say(text)
        if declared.places:
            places = declared.places(work, options)
        else:
            takes_many = _takes_many(declared) or options.get("at") is not None
            places = (work.objective, work.points) if takes_many else (work.objective, *work.points)
        offered = {name: getattr(work, name) for name in declared.handed if hasattr(work, name)} | work.of_run
        positional = list(inspect.signature(declared.function).parameters)[: len(places)]
        handed = {name: value for name, value in offered.items() if name not in positional}
        return declared.computed(*places, **handed, **own)

    return analyse


def _takes_many(declared: Analysis) -> bool:
    """Whether the function takes its points as a list, their number being free."""
    return not isinstance(declared.points, tuple) or len(declared.points) > 1


def _require_places(declared: Analysis, count: int) -> None:
    if count not in declared.points:
        wanted = declared.metavar
        raise BadInput(f"{count} point{'' if count == 1 else 's'} for {declared.command}", wanted)


def _stored(declared: Analysis, options: Options) -> dict[str, Any]:
    """The options as a configuration keeps them, those of the whole command."""
    whole = analyses.declared(declared.command)
    kept = {one.called: one.stored(options.get(name, one.default)) for name, one in whole.parameters.items()}
    return {**kept, **({"preset": options.get("preset")} if whole.presets else {})}


def _contents(own: sources.Sources, training: bool) -> dict[str, Any]:
    """What a configuration says of the user's own files of code, and of training mode; nothing where there is none."""
    contents = own.contents()
    return ({"sources": contents} if contents else {}) | ({"training": True} if training else {})


def _num_subsets(declared: Analysis, options: Options, settings: Settings) -> int:
    """How many subsets of the data are looked at: one, unless their spread at one point was asked for."""
    has_one_place = options.get("at") is None and not options.get("per_layer")
    if settings.subset and has_one_place:
        return options.get("subsets", 1)
    known = declared.parameters.get("subsets")
    if known and options["subsets"] not in (1, known.default):
        wanted = "a `subset` of so many samples" if has_one_place else "one point"
        raise BadInput(f"`subsets` {options['subsets']} without {wanted}", f"{wanted} with it")
    return 1


def _named(places: Any) -> str:
    """Places as they stand in a call; what has no short text by its class."""
    if isinstance(places, list | tuple):
        return f"[{', '.join(map(_named, places))}]"
    return repr(str(places)) if isinstance(places, str | Path) else f"<{type(places).__name__}>"

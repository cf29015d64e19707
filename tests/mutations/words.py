"""What the code of a check does not say of itself: why its bound is what it is, and what it takes."""

# Each in words: the checks whose bound it is.
BOUNDS = {
    "0, exact": (
        "assumptions; falling directions; steps of the starts; as asked; divisors; classes; changes of the basins; "
        "steps of the ends; "
        "bumps; basins; ends by width; groups; half widths; kinds of the starts; plain descent; runs; sizes; subsets; "
        "as visited; told apart; verdict; words; measures; refinement; unaligned refinement; "
        "best kept; block; distinct ends; ends fixed; exit step; index; index of an end; init; kind of an end; "
        "kinds of the ends; module untouched; measured steps; moved by hand; not finite; rearranged; "
        "observations; "
        "places; points; polished ends; spanning tree; taken up; passes; sublevel sets; closed form; distinct "
        "points; falls far out; index of a start; status of the starts; ranks; critical step; first rise; "
        "relative critical step; relative first rise; last point; feature rank"
    ),
    "rounding": (
        "preconditioner; plane coordinates; Ritz pair; Ritz pairs; starts; aligned end; as logged; centre loss; "
        "checkpoint coordinates; "
        "checkpoint loss; cost; cost of an end; cut; dense matrix; determinism; direction norms; "
        "eigenvalue along an axis; features; final loss; final test loss; first end; gradient; logged "
        "gradient norm; logged length; logged loss; logged test loss; loss; loss at a probe; moved; no farther; "
        "orthogonal; point coordinates; point loss; path loss; point of many; points on plane; polish; "
        "principal components; recorded cost; second end; stacked gradient; start loss; symmetry; test "
        "loss; cell; lowest loss; loss of a start; smoothed loss; mark coordinates; mark loss; mean of models"
    ),
    "twice rounding, for each of two numbers is rounded": "SAM; along ∇F; noise; trace probe; worst",
    "four times rounding, of squares": "density probe",
    "a hundred times rounding, and ε of θ over the way of the steps": "curve steps",
    "ten times rounding: a gradient sums what cancels": "gradient norm; watched barrier; distances",
    "ten times rounding: the weights are rescaled": "models kept; rescaled slice",
    "a thousand ε of float64: sums of squares": "closed kernel; kernel; kernel identity; kernel product",
    "rounding; ten times that where statistics of a pass are taken, rounded layer after layer": (
        "after loss; before loss; curve loss; curve test loss; merged model; "
        "model loss; model test loss; plane loss; seeded loss; seeded test "
        "loss; straight line loss; straight line test loss; unaligned line loss"
    ),
    "ten times rounding: statistics of a pass, rounded layer after layer": "repaired spread",
    "rounding; a hundred times that under Adam, which divides by small slopes; 0 for numbers of steps": (
        "steps"
    ),
    "a few ε of float64, or the share of labels that rounding may turn": (
        "curve accuracy; curve test accuracy; model accuracy; model test accuracy; "
        "seeded accuracy; seeded test accuracy"
    ),
    "1e-6 of a label, but for ties": (
        "accuracy; final accuracy; final test accuracy; logged accuracy; logged test accuracy; test accuracy"
    ),
    "a few ε: one rounding": "distance; distance after; distance before; grid",
    "1e-12: one sum in float64": (
        "logged passes; control points; draws; roughness; unaligned barrier; unaligned barrier errors; "
        "loss far out; agreement of ranks; ball; barrier; barrier after; barrier before; barrier errors; "
        "floor; lowest "
        "restart; random walk; step size; straight barrier; straight barrier errors; test barrier; "
        "trace per parameter; within the ball; barriers of means"
    ),
    "1e-10: a hundred sums in float64": (
        "barrier errors of means; density near zero; inner products; loss errors; rise; "
        "density below zero; density weights; mean errors; mean loss; orthogonality; overlap; penalty; "
        "spread; stated errors; summaries; trace; relative flatness; total persistence; "
        "total persistence of every second cell"
    ),
    "1e-6, and what rounding makes of a rise": "half width",
    "1e-9 to 1e-8: float64 where terms cancel": (
        "growth; plane residual; decay; "
        "agreement by chance; changes; feature ranks; kernel spectrum; laws of the width; pattern; "
        "rank correlation error; stability limit; "
        "stated twice; summary; summary errors; summary of the ends; eigenvalues of an end; lazy; mean of a "
        "run; noise error; path end; path law; power law; prediction; "
        "step sums; table; threshold; trace error; variance at a probe; rank correlation; relative flatness "
        "error; "
        "outliers"
    ),
    "100 d ε, of the solver in float64": "eigenvalues",
    "1e-9 in float64; rounding for a rescaled point": "function preserved",
    "rounding, and 1e-9 in float64, where maps cancel": "as stored",
    "1e-7: half of the digits where neighbours are close": "arc cosine; length",
    "1e-6: logarithms, and terms that either way may have": "exponents; threshold of a start",
    "1e-6: masses of nodes by other eigenvalues": "density errors",
    "ten times rounding, or what differences leave": "residuals of a cell",
    "1e-6: losses of samples are kept in float32": "losses of samples",
    "ten times rounding: products of vectors that are long": "Fisher–Rao; flatness probe",
    "a hundred times rounding: slopes of the loss are squared": "homogeneity",
    "1e-6: normal equations square the condition": "baselines; bound",
    "the tolerance asked for": "Lanczos",
    "the tolerance asked for, or ten times rounding": "none missed",
    "ten times rounding, and 1e-6 where the search ends": "best arrangement; best match",
    "ten times rounding, of sums of squares": "nearest scales",
    "1e-5, where alternation ends": "nearest maps",
    "1: allowed is what rounding makes of the terms that cancel": (
        "curve test errors; model test errors; run again; seeded test errors; still points; "
        "straight line test errors; gradient at a probe; gradient norm of an end; measured step; noisy step; "
        "stack; stack in "
        "float64; gradient norm of a start; generalisation gap; descents of starts"
    ),
    "1e-5: differences in float64, √ε and how the slope bends": (
        "Hv against ∇F; curvature at a probe; fall by a unit; largest curvature; linearised; lowest curvature; "
        "vᵀAv against outputs"
    ),
    "1e-5: ten times the tolerance of the search": "ends of the spectrum",
    "1e-3: differences of gradients in float64": "curvature along an axis",
    "1e-3 in float64, 5e-2 in float32: a difference of values": "cut, derivative",
    "3e-3: the tolerance of the map": "curvature of a cell; curvature range",
    "what sampling exceeds once in a million": (
        "density and index; falling share; first moment and spectrum; trace and density; trace and spectrum"
    ),
    "six standard deviations of independent ones": "independent directions",
    "√(2 ln(2·10⁶)), which such ratios exceed once in a million, whatever the law": "other noise",
    "rounding, or the largest residual": "split",
    "ten times what the search ends at: other draws, and the longest slope where it is above 1": "kinks among the ends",
    "1e-4: what a smooth path rises between the points at which its height was taken": "path heights",
    "a thousand ε of the coarsest dtype": "regulariser identity",
}

# Each in words: the checks that take it. F is a plain loop over the data.
COSTS = {
    "none": (
        "agreement by chance; decay; exponents; steps of the starts; as asked; divisors; classes; steps of the ends; "
        "changes of the basins; logged passes; barrier errors of means; bumps; basins; changes; control points; "
        "density errors; "
        "as visited; density near zero; feature ranks; runs; stability limit; verdict; words; measures; "
        "refinement; unaligned refinement; "
        "draws; ends by width; groups; half widths; kinds of the starts; laws of the width; "
        "loss errors; pattern; rank correlation error; rise; roughness; stated twice; summary; summary errors; "
        "summary of the ends; told apart; unaligned barrier; unaligned barrier errors; watched barrier; "
        "arc cosine; ball; best kept; block; barrier; barrier after; barrier before; barrier errors; bound; "
        "closed kernel; density and index; density below zero; density weights; direction norms; "
        "distance; distance after; distance before; ends fixed; falling share; first moment and "
        "spectrum; floor; grid; independent directions; index; init; kernel; kinds of the ends; length; "
        "losses of samples; lowest restart; mean errors; mean loss; mean of a run; measured steps; "
        "module untouched; no farther; noise error; not finite; observations; orthogonal; orthogonality; "
        "overlap; path law; penalty; places; points; points on plane; polish; polished ends; power law; random "
        "walk; spanning tree; split; spread; stated errors; step size; step sums; straight barrier; "
        "straight barrier errors; table; taken up; test barrier; threshold; trace; trace and density; "
        "trace and spectrum; trace error; trace per parameter; within the ball; passes; sublevel sets; "
        "loss far out; rank correlation; status of the starts; agreement of ranks; ranks; summaries; "
        "relative flatness; relative flatness error; total persistence; barriers of means; outliers; last point; "
        "total persistence of every second cell"
    ),
    "sums over θ": (
        "growth; plane coordinates; plane residual; distances; inner products; preconditioner; "
        "best arrangement; best match; checkpoint coordinates; eigenvalues; logged length; mark "
        "coordinates; mean of models; moved by hand; rearranged; "
        "nearest maps; nearest scales; point coordinates; principal components"
    ),
    "1 F": (
        "SAM; after loss; aligned end; as logged; before loss; centre loss; checkpoint loss; cost; curve "
        "loss; curve test loss; final loss; final test loss; first end; logged loss; logged test loss; "
        "loss; features; linearised; loss at a probe; mark loss; merged model; "
        "path end; path loss; plane loss; point loss; "
        "point of many; recorded cost; second end; start loss; straight line loss; straight line test loss; "
        "unaligned line loss; test loss; "
        "worst; cell; lowest loss; loss of a start"
    ),
    "1 F of the test data": "curve test errors; model test errors; seeded test errors; straight line test errors",
    "3 F": "fall by a unit; critical step; relative critical step",
    "4 F": "first rise; relative first rise; feature rank",
    "2 F of a few samples": "homogeneity",
    "17 F": "falling directions",
    "outputs of a module made anew, and at other weights": "assumptions",
    "of the same loop": (
        "accuracy; curve accuracy; curve test accuracy; final accuracy; final test accuracy; logged "
        "accuracy; logged test accuracy; model accuracy; model test accuracy; "
        "seeded accuracy; seeded test accuracy; test accuracy"
    ),
    "2 F": (
        "as stored; starts; cost of an end; cut; half width; "
        "rescaled slice; function preserved; moved; noise; repaired "
        "spread; seeded loss; seeded test loss; generalisation gap"
    ),
    "1 F, 1 ∇F": "cut, derivative",
    "the data, once": "baselines",
    "a few samples": "subsets",
    "outputs of every end": "distinct ends; distinct points",
    "outputs at one input": "prediction",
    "1 ∇F": (
        "gradient; gradient at a probe; gradient norm of an end; kernel identity; logged "
        "gradient norm; measured step; stacked gradient; gradient norm of a start; regulariser identity"
    ),
    "2 ∇F": "gradient norm; still points; curvature at a probe; curve steps; kernel product",
    "a module of each cell, made anew": "sizes",
    "4 ∇F": "plain descent",
    "none; by Lanczos up to 32 derivatives of the module": "kernel spectrum",
    "4 ∇F, or 12 where there is a kink": "largest curvature",
    "2 ∇F, or 4 where there is a kink": "lowest curvature",
    "some ∇F": "falls far out; noisy step",
    "up to 128 ∇F, a tenth of what all runs take at most": "run again",
    "20 ∇F and 2nk derivatives of one net": "lazy",
    "up to 6 F": "exit step",
    "2 ∇F on a few samples": "curvature along an axis; Hv against ∇F",
    "some outputs of a few samples": "vᵀAv against outputs",
    "2 F for each model": "models kept",
    "1 F for each model and mean": "model loss; model test loss",
    "n gradients of one sample, where that is little": "variance at a probe",
    "1 Hv": "density probe; Ritz pair; Ritz pairs; along ∇F; dense matrix; eigenvalue along an axis; trace probe; "
    "Fisher–Rao; flatness probe",
    "2 Hv": "curvature range; determinism; residuals of a cell; symmetry",
    "some Hv, or none beside a density": "none missed",
    "a hundredth of its products": "curvature of a cell",
    "none beside the d products of `exact`": "Lanczos",
    "d products, where d is small": (
        "eigenvalues of an end; index of an end; kind of an end; index of a start; closed form; threshold of a "
        "start"
    ),
    "up to 128 ∇F": "descents of starts",
    "30 Hv": "ends of the spectrum",
    "some steps of three replicas": "stack; stack in float64",
    "3 to 6 steps of training; none for numbers of steps": "steps",
    "17 F a path": "path heights",
    "4d ∇F, at most 800": "kinks among the ends",
    "2 F a pair": "other noise; smoothed loss",
}


def by_check(words: dict[str, str]) -> dict[str, str]:
    """The words of each check by its name; one that stands twice is an error."""
    found: dict[str, str] = {}
    for said, names in words.items():
        for name in names.split("; "):
            if name in found:
                raise ValueError(f"{name} has two")
            found[name] = said
    return found

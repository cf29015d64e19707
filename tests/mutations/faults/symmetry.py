"""Faults of matching and rescaling."""

from mutations.harness import Fault

FAULTS = (
    Fault(
        "mat-inverse-in-one-group",
        "symmetry/matching.py",
        "permutations[unit] = order\n",
        "permutations[unit] = order.argsort() if unit == min(symmetry.free) else order\n",
        "symmetry/test_matching.py::test_permutations_planted_in_an_mlp_are_found",
        "align",
    ),
    Fault(
        "mat-inverse-on-columns",
        "symmetry/permutations.py",
        "index, outer = permutations[group].to(values.device), block.outers[axis]",
        (
            "index, outer = permutations[group].to(values.device), block.outers[axis]\n"
            "        index = index.argsort(-1) if axis == 1 else index"
        ),
        "symmetry/test_matching.py::test_permutations_planted_anywhere_are_found",
        "align",
    ),
    Fault(
        "mat-minimise",
        "symmetry/matching.py",
        "maximize=True",
        "maximize=False",
        "symmetry/test_matching.py::test_permutations_planted_in_an_mlp_are_found",
        "align",
    ),
    Fault(
        "mat-composed-order",
        "symmetry/permutations.py",
        "found.append(first[number][then[number]])",
        "found.append(then[number][first[number]])",
        "symmetry/test_tracing.py::test_two_permutations_make_one",
        "align_refined",
    ),
    Fault(
        "res-bias-not-scaled",
        "symmetry/rescaling.py",
        "for piece in one.incoming:",
        "for piece in one.incoming[:1]:",
        "analyses/test_sharpness.py::test_the_function_stays_and_curvature_changes",
        "sharpness",
    ),
    Fault(
        "res-not-tried",
        "symmetry/rescaling.py",
        "if not gap <= tolerance:",
        "if gap is None:",
        "analyses/test_sharpness.py::test_outputs_that_change_after_all_are_seen",
        "sharpness_hooked",
    ),
    Fault(
        "nea-slope-of-less",
        "symmetry/nearest.py",
        "slope = (2 * self.exponents * (square - linear))",
        "slope = (2 * self.exponents * (square - 0.9 * linear))",
        "analyses/test_align.py::test_the_function_stays_for_every_way_of_matching",
        "align_rescaled",
    ),
    Fault(
        "aln-line-to-a",
        "analyses/align.py",
        '(("before", second), ("after", found.point))',
        '(("before", second), ("after", first))',
        "analyses/test_align.py::test_two_solutions_come_closer_and_the_result_says_what_was_done",
        "align",
    ),
    Fault(
        "aln-distances-swapped",
        "analyses/align.py",
        "for point in (second, found.point)]",
        "for point in (found.point, second)]",
        "analyses/test_align.py::test_two_solutions_come_closer_and_the_result_says_what_was_done",
        "align",
    ),
    Fault(
        "aln-stored-in-bfloat16",
        "symmetry/alignment.py",
        "point = objective.point(now,",
        (
            "coarse = {k: v.bfloat16().to(v) if v.is_floating_point() else v for k, v in now.items()}\n"
            "    point = objective.point(coarse,"
        ),
        "analyses/test_align.py::test_rescaled_and_permuted_copies_come_back_too",
        "align_rescaled",
    ),
    Fault(
        "mrg-means-swapped",
        "analyses/merge.py",
        "places = [*given, found.mean, soup]",
        "places = [*given, soup, found.mean]",
        "analyses/test_merge.py::test_what_is_said_of_the_mean_is_what_a_plain_loop_says",
        "merge",
    ),
    Fault(
        "mrg-rows-of-first",
        "analyses/merge.py",
        "thetas[row] = places[i].theta",
        "thetas[row] = places[0].theta",
        "analyses/test_merge.py::test_what_is_said_of_the_mean_is_what_a_plain_loop_says",
        "merge",
    ),
    Fault(
        "mrg-mean-of-first-two",
        "symmetry/merging.py",
        "theta = torch.stack([one.theta.double() for one in points])",
        "theta = torch.stack([one.theta.double() for one in points[:2]])",
        "analyses/test_merge.py::test_what_is_said_of_the_mean_is_what_a_plain_loop_says",
        "merge",
    ),
    Fault(
        "mrg-moved-back",
        "symmetry/merging.py",
        "permuted(state, self._symmetry, change)",
        "permuted(state, self._symmetry, [order.argsort(-1) for order in change])",
        "analyses/test_merge.py::test_models_that_are_permutations_of_one_have_it_as_their_mean",
        "merge",
    ),
    Fault(
        "mrg-models-shrunk",
        "symmetry/merging.py",
        "moved = [objective.point(state) for",
        "moved = [objective.point({k: 0.99 * v if v.is_floating_point() else v for k, v in state.items()}) for",
        "analyses/test_merge.py::test_models_that_are_permutations_of_one_have_it_as_their_mean",
        "merge",
    ),
    Fault(
        "mrg-barrier-over-first",
        "analyses/merge.py",
        "float(loss[row] - loss[:count].mean())",
        "float(loss[row] - loss[0])",
        "analyses/test_merge.py::test_what_is_said_of_the_mean_is_what_a_plain_loop_says",
        "merge",
    ),
    Fault(
        "aln-barriers-over-ends",
        "analyses/align.py",
        "[barriers(alpha, losses).chord for",
        "[barriers(alpha, losses).ends for",
        "analyses/test_align.py::test_two_solutions_come_closer_and_the_result_says_what_was_done",
        "align",
    ),
)

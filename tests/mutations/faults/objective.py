"""Faults of F, its derivatives, its parameters, of sweeps and of batch norm."""

from mutations.harness import Fault

FAULTS = (
    Fault(
        "obj-value-n+1",
        "objective/objective.py",
        "[self.divisor, self.num_counted]",
        "[self.divisor + 1, self.num_counted + 1]",
        "objective/test_objective.py::test_linear_regression_in_closed_form",
        "train slice2d connect noise minima efficiency",
    ),
    Fault(
        "obj-measured-n+1",
        "objective/summed.py",
        "total / subject.divisor",
        "total / (subject.divisor + 1)",
        "objective/test_objective.py::test_linear_regression_in_closed_form",
        "train hessian",
    ),
    Fault(
        "obj-grad-n-1",
        "objective/summed.py",
        "divided(slope, subject.divisor, theta)",
        "divided(slope, subject.divisor - 1, theta)",
        "objective/test_objective.py::test_linear_regression_in_closed_form",
        "train hessian slice2d noise",
    ),
    Fault(
        "obj-batchgrad-n+1",
        "objective/losses.py",
        "return total / count, None",
        "return total / (count + 1), None",
        "objective/test_objective.py::test_a_training_step_is_that_of_plain_torch",
        "train train_plain minima efficiency",
    ),
    Fault(
        "obj-last-chunk-dropped",
        "objective/samples.py",
        "for start in range(0, self.count_here, size):",
        "for start in range(0, self.count_here - size, size):",
        "objective/test_objective.py::test_against_dense_derivatives_of_a_loss_written_by_hand",
        "train_chunk hessian_chunk slice2d_layer",
    ),
    Fault(
        "obj-sample-twice-at-chunk-edge",
        "objective/samples.py",
        "slice(start, start + size)",
        "slice(start, start + size + 1)",
        "objective/test_objective.py::test_against_dense_derivatives_of_a_loss_written_by_hand",
        "train_chunk hessian_chunk slice2d_layer",
    ),
    Fault(
        "obj-l2-not-in-gradient",
        "objective/summed.py",
        "slope.add_(theta, alpha=l2)",
        "slope.add_(theta, alpha=0)",
        "objective/test_objective.py::test_the_penalty_adds_its_value_gradient_and_curvature",
        "hessian_l2 train_l2",
    ),
    Fault(
        "obj-l2-not-in-batch-gradient",
        "objective/batch_slope.py",
        "slope.add(leaf, alpha=l2)",
        "slope.add(leaf, alpha=0)",
        "analyses/test_train.py::test_l2_of_the_objective_is_part_of_its_gradient",
        "train_l2 connect_l2",
    ),
    Fault(
        "obj-l2-not-in-hvp",
        "objective/products.py",
        "result.add_(v, alpha=self._l2)",
        "result.add_(v, alpha=0)",
        "objective/test_objective.py::test_the_penalty_adds_its_value_gradient_and_curvature",
        "hessian_l2 slice2d_layer",
    ),
    Fault(
        "obj-buffers-move-in-eval",
        "objective/fitted.py",
        "fixed = {name: tensor.clone() for name, tensor in fixed.items()}",
        "fixed = dict(fixed)",
        "objective/test_objective.py::test_nothing_depends_on_the_chunk_size",
        "slice2d_counting",
    ),
    Fault(
        "hvp-n-1",
        "objective/products.py",
        "leaf.device), self._divisor, v)",
        "leaf.device), self._divisor - 1, v)",
        "objective/test_objective.py::test_linear_regression_in_closed_form",
        "hessian hessian_exact slice2d sharpness minima noise",
    ),
    Fault(
        "sweep-buffers-of-first-point",
        "objective/sweep.py",
        "return lambda i: policies.blend([point.fixed for point in points], weights_at(i))",
        "return lambda i: points[0].fixed",
        "analyses/test_interpolate.py::test_losses_are_a_plain_loop_with_the_buffers_blended",
        "interpolate_frozen",
    ),
    Fault(
        "sweep-test-loss-on-train",
        "objective/sweep.py",
        (
            "            tested = measured_with_errors(self.test, thetas, fixed)\n"
            "        elif self.test:\n"
            "            tested[:, :2] = self.test.measurements(thetas, fixed)\n"
        ),
        (
            "            tested = measured_with_errors(self.objective, thetas, fixed)\n"
            "        elif self.test:\n"
            "            tested[:, :2] = self.objective.measurements(thetas, fixed)\n"
        ),
        "analyses/test_interpolate.py::test_losses_are_a_plain_loop_with_the_buffers_blended",
        "slice2d interpolate connect",
    ),
    Fault(
        "sweep-block-shifted-later",
        "objective/sweep.py",
        "        fill(block, thetas)\n        found",
        (
            "        fill(range(block.start - 1, block.stop - 1) if block.start else block, thetas)\n"
            "        found"
        ),
        "objective/test_sweep.py::test_blocks_hold_what_one_block_holds",
        "slice2d_blocks",
    ),
    Fault(
        "sweep-pieces-key-without-name",
        "objective/sweep.py",
        'f"{name} {start}": range(',
        'f"{start}": range(',
        "analyses/test_slice1d.py::test_draws_are_the_slices_of_consecutive_seeds",
        "slice2d slice2d_pca align connect",
    ),
    Fault(
        "param-flatten-sorted",
        "objective/parameters.py",
        "detach().reshape(-1) for piece in pieces])",
        "detach().reshape(-1) for piece in sorted(pieces, key=lambda one: one.name)])",
        "objective/test_parameters.py::test_round_trips_are_exact_for_any_module_tree",
        "hessian slice2d interpolate train",
    ),
    Fault(
        "param-filter-axis-all-1",
        "objective/uses.py",
        "return replace(piece, units=tuple(units), is_guess=False)",
        "return replace(piece, units=(1, piece.shape[1], *(1 for _ in piece.shape[2:])), is_guess=False)",
        "objective/test_uses.py::test_units_are_those_of_the_use",
        "slice2d slice2d_conv sharpness",
    ),
    Fault(
        "param-convtranspose-axis-0",
        "objective/contractions.py",
        "if not is_transposed:",
        "if True:",
        "objective/test_uses.py::test_units_are_those_of_the_use",
        "slice2d_conv",
    ),
    Fault(
        "param-norm-role-lost",
        "objective/parameters.py",
        '"norm" if isinstance(owner, NORMS) else name_of_role(name, shape),',
        "name_of_role(name, shape),",
        "objective/test_parameters.py::test_roles",
        "slice2d_conv",
    ),
    Fault(
        "bn-recal-biased-variance",
        "objective/batchnorm.py",
        "count / max(count - 1, 1)",
        "1.0",
        "objective/test_batchnorm.py::test_recalibrated_is_one_training_pass_over_all_data",
        "interpolate_recalibrated slice2d_bn",
    ),
    Fault(
        "bn-recal-momentum-0.9",
        "objective/batchnorm.py",
        "fresh[key] = value.to(fresh[key].dtype)",
        "fresh[key] = (0.1 * fresh[key] + 0.9 * value).to(fresh[key].dtype)",
        "objective/test_batchnorm.py::test_recalibrated_is_one_training_pass_over_all_data",
        "interpolate_recalibrated slice2d_bn",
    ),
    Fault(
        "bn-recal-first-chunk-only",
        "objective/batchnorm.py",
        "_moments(target, forward, fresh, chunks())",
        "_moments(target, forward, fresh, chunks()[:1])",
        "objective/test_batchnorm.py::test_recalibrated_is_one_training_pass_over_all_data",
        "interpolate_recalibrated slice2d_bn",
    ),
    Fault(
        "rep-factor-inverted",
        "objective/repair.py",
        "torch.where(now.deviation > 0, deviation / now.deviation",
        "torch.where(now.deviation > 0, now.deviation / deviation",
        "objective/test_repair.py::test_every_hidden_channel_has_the_interpolated_mean_and_spread",
        "interpolate_repaired",
    ),
)

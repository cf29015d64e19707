"""Faults of training, sampling, stacks of replicas, noise and ends of descents."""

from mutations.harness import Fault

FAULTS = (
    Fault(
        "tr-momentum-dampened",
        "numerics/steps/motion.py",
        "[parameter], lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay",
        (
            "[parameter],\n"
            "        lr=lr,\n"
            "        momentum=momentum,\n"
            "        dampening=0.0 if nesterov else momentum,\n"
            "        nesterov=nesterov,\n"
            "        weight_decay=weight_decay,"
        ),
        "analyses/test_train.py::test_minibatches_are_a_plain_loop_with_dropout_and_batch_norm",
        "train",
    ),
    Fault(
        "tr-schedule-one-early",
        "descent/training.py",
        (
            "if self.step % self._every:\n"
            "            return\n"
            "        if self._plateau is None:\n"
            "            period = self.step //"
        ),
        (
            "if (self.step + 1) % self._every:\n"
            "            return\n"
            "        if self._plateau is None:\n"
            "            period = (self.step + 1) //"
        ),
        "analyses/test_train.py::test_the_logged_step_size_is_the_formula",
        "train train_plain",
    ),
    Fault(
        "sched-k-plus-1",
        "numerics/steps/schedules.py",
        '(parameters["beta"] * k + 1)',
        '(parameters["beta"] * (k + 1) + 1)',
        "numerics/steps/test_schedules.py::test_closed_formulas",
        "train_plain",
    ),
    Fault(
        "samp-with-replacement",
        "numerics/steps/sampling.py",
        "return torch.arange(start, end) if self._order is None else self._order[start:end]",
        "return torch.randint(self.num_samples, (end - start,), generator=self._generator)",
        "numerics/steps/test_sampling.py::test_a_pass_sees_every_sample_once",
        "train",
    ),
    Fault(
        "samp-not-reshuffled",
        "numerics/steps/sampling.py",
        'if self.rule == "reshuffle":',
        "if False:",
        "numerics/steps/test_sampling.py::test_reshuffle_changes_the_order_and_cycle_is_shuffled",
        "train",
    ),
    Fault(
        "train-final-is-start",
        "descent/training.py",
        "tensors = {**split(self.theta.detach(), self.objective.pieces), **self.fixed}",
        (
            'theta = self.objective.theta if label == "final" else self.theta.detach()\n'
            "        tensors = {**split(theta, self.objective.pieces), **self.fixed}"
        ),
        "analyses/test_train.py::test_minibatches_are_a_plain_loop_with_dropout_and_batch_norm",
        "train",
    ),
    Fault(
        "train-final-stale-buffers",
        "descent/training.py",
        "tensors = {**split(self.theta.detach(), self.objective.pieces), **self.fixed}",
        (
            'fixed = self.objective.present_point().fixed if label == "final" else self.fixed\n'
            "        tensors = {**split(self.theta.detach(), self.objective.pieces), **fixed}"
        ),
        "analyses/test_train.py::test_minibatches_are_a_plain_loop_with_dropout_and_batch_norm",
        "train_bn",
    ),
    Fault(
        "train-checkpoint-label-off",
        "descent/training.py",
        'f"epoch={self.step // self.per_pass}"',
        'f"epoch={self.step // self.per_pass + 1}"',
        "analyses/test_train.py::test_points_and_logs_are_labelled_in_the_unit_of_the_run",
        "train",
    ),
    Fault(
        "train-resume-forgets-momentum",
        "numerics/steps/motion.py",
        ("if self.optimiser:\n            self.optimiser.state["),
        ("if self.optimiser and False:\n            self.optimiser.state["),
        "analyses/test_train.py::test_a_killed_run_ends_bit_for_bit_like_an_undisturbed_one",
        "train_resumed",
    ),
    Fault(
        "rep-neighbour-mixed-in",
        "numerics/steps/replicas.py",
        "self._theta.addcmul_(self._rate, slopes, value=-1)",
        "self._theta.addcmul_(self._rate, slopes + 1e-3 * slopes.roll(1, 0), value=-1)",
        "descent/test_proofs.py::test_nothing_fails_where_nothing_is_broken",
        "minima efficiency noise",
    ),
    Fault(
        "rep-plans-out-of-order",
        "numerics/steps/replicas.py",
        "self._theta[kept], self._rate[kept], self._loss[kept]",
        "self._theta[kept], self._rate[: int(kept.sum())], self._loss[kept]",
        "numerics/steps/test_replicas.py::test_a_replica_that_diverges_stays_and_is_marked_and_the_others_go_on",
        "minima efficiency efficiency_square noise",
    ),
    Fault(
        "per-mse-gradient-half",
        "numerics/steps/perceptron.py",
        "gap * (2 / outputs.shape[1])",
        "gap * (1 / outputs.shape[1])",
        "numerics/steps/test_replicas.py::test_the_gradient_by_hand_is_the_general_one",
        "minima_polished",
    ),
    Fault(
        "ine-ends-threshold-x100",
        "descent/critical.py",
        "signs = inertia(values, threshold)",
        "signs = inertia(values, 100 * threshold)",
        "analyses/test_minima.py::test_an_eigenvalue_counts_from_its_error_on",
        "minima_flat",
    ),
    Fault(
        "noi-std-with-n",
        "numerics/averages.py",
        "scaled.std(-1, ddof=1)",
        "scaled.std(-1)",
        "descent/test_proofs.py::test_bound_and_standard_error_by_their_formulas",
        "noise",
    ),
    Fault(
        "noi-second-moment-as-variance",
        "descent/gradient_noise.py",
        "max(0.0, moments[0] - squared_norm)",
        "moments[0]",
        "analyses/test_noise.py::test_probes_know_the_quadratic",
        "noise",
    ),
    Fault(
        "noi-measured-late",
        "descent/noise.py",
        "np.arange(0, num_steps, measure_every)",
        "np.arange(1, num_steps, measure_every)",
        "analyses/test_noise.py::test_the_stack_is_a_plain_loop_for_each_run",
        "noise",
    ),
    Fault(
        "noi-interval-normal",
        "numerics/powerlaw.py",
        "stdtrit(freedom, (1 + confidence) / 2)",
        "stdtrit(1e9, (1 + confidence) / 2)",
        "numerics/test_powerlaw.py::test_the_fit_is_that_of_scipy",
        "noise",
    ),
    Fault(
        "pol-accepts-rises",
        "numerics/steps/polish.py",
        "is_better = ratio > 0.05 or",
        "is_better = ratio > -10 or",
        "numerics/steps/test_polish.py::test_a_kink_is_named",
        "minima_polished",
    ),
    Fault(
        "kin-shortest-not-short",
        "numerics/steps/kinks.py",
        "weights / weights.sum() @ rows)",
        "1e-4 * weights / weights.sum() @ rows)",
        "numerics/steps/test_kinks.py::test_the_shortest_combination_is_that_of_its_conditions",
        "minima_kinks",
    ),
    Fault(
        "kin-any-stall-is-one",
        "numerics/steps/kinks.py",
        "if size <= stationary and is_last:",
        "if size <= 1e9 * stationary:",
        "numerics/steps/test_kinks.py::test_where_it_falls_on_nothing_is_proven",
        "minima_kinks",
    ),
    Fault(
        "pol-stops-1e4-early",
        "numerics/steps/polish.py",
        "if norm <= tolerance:",
        "if norm <= 1e4 * tolerance:",
        "numerics/steps/test_polish.py::test_the_valley_of_rosenbrock",
        "minima_polished",
    ),
    Fault(
        "min-status-ignores-gradient",
        "descent/critical.py",
        'status=kind if size <= tolerance else "cut short"',
        "status=kind",
        "analyses/test_minima.py::test_polishing_goes_on_to_the_minimum",
        "minima",
    ),
    Fault(
        "min-distinct-by-parameters",
        "descent/cells.py",
        "counted(outputs, costs,",
        "counted(thetas[kept].cpu().numpy(), costs,",
        "analyses/test_minima.py::test_ends_whose_kind_is_known",
        "minima_polished",
    ),
)

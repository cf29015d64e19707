"""The proof of a verdict: what is said of a point against the numbers that are stated of it, and what these allow."""

from typing import Any

import numpy as np

from landscape.certificates import assumption_proofs
from landscape.certificates.claims import AT_FLOOR, FAILS, HOLDS, KINK, SMALL
from landscape.certificates.survey import Survey
from landscape.numerics.rank import CERTAIN
from landscape.result import Check

GLOBAL, OPEN, MOVES = "global minimum certified", "no certificate", "not a critical point: ‖∇F‖ = "
LAST = "outputs = last layer (trained) × features"
# Between such parts of a bound either verdict may be right: the size that it is held against is known to them.
ROOM = 10.0


def verdict_check(survey: Survey, result: Any, asked: float) -> Check:
    """Verdicts and assumptions of every point against the stated numbers; a critical one has ‖∇F‖ ≤ ``asked``.

    The targets are those of the data; of assumptions of the loss and of biases two passes tell.
    """
    wrong = int(result.tolerance != asked)
    for i, _ in enumerate(survey.points):
        said = Said(result, None if len(survey.points) == 1 and result.point is None else i)
        wrong += said.num_wrong(asked) + (not said.verdict.startswith(said.allowed(survey, asked)))
        wrong += said.num_wrong_otherwise(survey, i)
    meaning = (
        "tolerance, assumptions and verdicts that are not as stated numbers and assumptions say (0 = none)"
    )
    return Check("verdict", float(wrong), 0.0, meaning)


class Said:
    """What a result says of its point ``i``; of its only one for None."""

    def __init__(self, result: Any, i: int | None):
        self._result, self._i = result, i
        self.verdict = str(self["verdict"])
        names, texts = result.assumed_by.tolist(), result.assumption.tolist()
        self.states = dict(zip(zip(names, texts, strict=True), self["state"].tolist(), strict=True))

    def __getitem__(self, name: str) -> Any:
        value = getattr(self._result, name)
        return value if self._i is None or value is None else value[self._i]

    def holds(self, claim: str) -> bool:
        """Whether every assumption of a claim holds; not where it is not made."""
        own = [state for (name, _), state in self.states.items() if name == claim and state]
        return bool(own) and all(state == HOLDS for state in own)

    def num_wrong(self, asked: float) -> int:
        """Assumptions about numbers that say otherwise than these, and a norm that the verdict gives otherwise."""
        full = self["ntk_rank"] == self._result.num_outputs
        known = {
            "parameters that move an output: P ≥ nk": self["num_moving"] >= self._result.num_outputs,
            "K of full rank, beyond rounding": full and self["ntk_smallest"] >= CERTAIN * self["ntk_largest"],
            f"critical: ‖∇F‖ ≤ {asked:g}": self["gradient_norm"] <= asked,
            "a hidden unit without any weight": self["num_inactive"] > 0,
        }
        wrong = 0
        for (_, text), state in self.states.items():
            if state and text in known:
                wrong += (state == HOLDS) != bool(known[text])
            elif state and text.startswith("differentiable"):
                wrong += (state == FAILS) != (self["nearest_kink"] <= KINK)
            elif state and text.startswith("critical"):
                wrong += 1
        if self.verdict.startswith(MOVES):
            wrong += not self.verdict.startswith(f"{MOVES}{self['gradient_norm']:.6g};")
        return wrong

    def num_wrong_otherwise(self, survey: Survey, i: int) -> int:
        """Assumptions that say otherwise than shapes, data, and other outputs and weights do."""
        objective, point = survey.objective, survey.points[i]
        layers = [] if self._result.layer is None else self._result.layer.tolist()
        own = {text: state for (claim, text), state in self.states.items() if state and claim != "kernel"}
        if own.get(LAST) != HOLDS:
            own.pop("features: width ≥ n", None)
        known = assumption_proofs.of_loss(objective, point) if assumption_proofs.is_told(own) else {}
        if layers:
            widths = np.ravel(self["feature_width"]).tolist()
            count = int(self._result.num_outputs)
            known |= assumption_proofs.of_shapes(objective, point, layers, widths, count)
        is_own = own.get("every factor trained, and a parameter of its own", HOLDS) == HOLDS
        if "no biases" in own and is_own:
            known |= assumption_proofs.of_biases(objective, point, [f"{one}.weight" for one in layers])
        claims = assumption_proofs.of_layers(objective)
        missing = len(claims - {claim for (claim, _), state in self.states.items() if state})
        missing += assumption_proofs.ends_linearly(objective) and own.get(LAST) != HOLDS
        if "a local minimum" in own:
            missing += (own["a local minimum"] == FAILS) != self._falls(survey, i)
        return missing + assumption_proofs.num_wrong(own, known)

    def _falls(self, survey: Survey, i: int) -> bool:
        """Whether F falls by more than rounding where a unit without weights is given some."""
        fall = self["inactive_fall"]
        if fall is None or not fall > 0:
            return False
        woken = survey.measured(i).woken
        return woken is not None and fall > woken.rounding

    def allowed(self, survey: Survey, asked: float) -> tuple[str, ...]:
        """How the verdict may begin."""
        is_critical, size = self["gradient_norm"] <= asked, _mean_square(survey)
        own = ("product", "every factor trained, and a parameter of its own")
        if self.holds("floor"):
            above, edge = self["loss"] - self["floor"], AT_FLOOR * max(float(self["loss"]), size)
            lowest = (f"{GLOBAL}: F lies",)
            if above <= edge / ROOM:
                return lowest
            near = lowest if not above > edge * ROOM else ()
            if self.states[own] == HOLDS:
                return (*near, *self._linear(survey, is_critical))
            return (*near, *self._others(is_critical, size))
        return self._others(is_critical, size)

    def _linear(self, survey: Survey, is_critical: bool) -> tuple[str, ...]:
        if not is_critical:
            return (MOVES,)
        if not self.holds("product"):
            return ("not a global minimum: ",)
        outputs = self._result.num_outputs // survey.objective.num_samples
        full = min(outputs, int(np.ravel(self["feature_width"])[0]))
        return ("not a critical point, though ",) if self["product_rank"] == full else ("saddle: ",)

    def _others(self, is_critical: bool, size: float) -> tuple[str, ...]:
        if not is_critical:
            return (MOVES,)
        bounds = {"kernel": "loss_bound", "last layer": "last_layer_bound"}
        known = [float(self[bound]) for claim, bound in bounds.items() if self.holds(claim)]
        if not known:
            return OPEN, "no critical point can be here"
        is_small = min(known) <= SMALL * size
        # Outputs may be longer than targets, by no more than the errors.
        is_large = min(known) > SMALL * 4 * (size + float(self["loss"]))
        if not np.isfinite(min(known)):
            return GLOBAL, f"{OPEN}: ‖∇F‖"
        return (GLOBAL,) if is_small else (f"{OPEN}: ‖∇F‖",) if is_large else (GLOBAL, f"{OPEN}: ‖∇F‖")


def _mean_square(survey: Survey) -> float:
    targets = survey.objective.samples.picked(None)[1]
    known = hasattr(targets, "is_floating_point") and targets.is_floating_point()
    return float(targets.double().square().mean()) if known else float("nan")

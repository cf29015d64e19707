#!/bin/sh -e
# A loss that takes the module alone needs no data: a function that can be called with one argument, and not with two.
cd "$(dirname "$0")"
landscape train --model pinn.py:net --loss pinn.py:residual --optimizer adam --lr 0.01 --steps 500 -o pinn.h5
landscape hessian pinn.h5 --top-k 5
landscape slice2d pinn.h5 --num-points 25
python - <<'PY'
import landscape, pinn  # the same numbers by a loop of one's own

module = landscape.Run("pinn.h5").module()
print(landscape.load("pinn.h5").final_loss, pinn.residual(module).item())
objective = landscape.Objective.from_closure(module, pinn.residual)
print(landscape.hessian(objective, objective.theta, top_k=5).eigenvalues)
PY

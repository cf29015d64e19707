# Figure 3.2: the share of negative eigenvalues at critical points against their cost. Of ‖w‖⁴/4 − wᵀAw/2 it is known
# in closed form and rises with the cost; of a small net it is what searches from perturbed points of a run find.
set -e
mkdir -p thesis
landscape critical --preset spin -o thesis/spin.h5
landscape train --model mlp --model-arg widths=2 activation=tanh --data circles --data-arg num_samples=100 noise=0.3 \
    --loss mse --method gd --steps 5000 --lr 0.2 --checkpoint-every 100 --dtype float64 -o thesis/small.h5
landscape critical thesis/small.h5 --from trajectory --starts 100 --perturb 0.5 -o thesis/small-critical.h5
landscape plot thesis/spin.h5 -o thesis/3.2-spin.png
landscape plot thesis/small-critical.h5 -o thesis/3.2-net.png

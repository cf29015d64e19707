# Figure 4.5: SGD with a step size that is too small to arrive and one that is too large to stay.
set -e
mkdir -p thesis
for step in 0.002 0.065; do
    landscape train --model examples/thesis/regression.py:model --data examples/thesis/regression.py:data \
        --method sgd --sampling uniform --lr $step --steps 500 --checkpoint-every 1 -o thesis/sgd-$step.h5
    landscape slice2d thesis/sgd-$step.h5 --directions axes --trajectory --span 2.2
    landscape plot thesis/sgd-$step.slice2d.h5 --log -o thesis/4.5-sgd-$step.png
done

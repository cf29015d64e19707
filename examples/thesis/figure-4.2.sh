# Figure 4.2: gradient descent on y = x₁ + x₂ + ε zig-zags across a valley that it should follow.
set -e
mkdir -p thesis
landscape train --model examples/thesis/regression.py:model --data examples/thesis/regression.py:data \
    --method gd --lr 0.18 --steps 30 --checkpoint-every 1 -o thesis/zigzag.h5
landscape slice2d thesis/zigzag.h5 --directions axes --trajectory
landscape plot thesis/zigzag.slice2d.h5 --log -o thesis/4.2-zigzag.png

# Figure 4.4: SGD against mini-batches of 5, the same step size and number of steps.
set -e
mkdir -p thesis
for method in sgd minibatch; do
    landscape train --model examples/thesis/regression.py:model --data examples/thesis/regression.py:data \
        --method $method --batch-size 5 --sampling uniform --lr 0.03 --steps 300 --checkpoint-every 1 \
        -o thesis/$method.h5
    landscape slice2d thesis/$method.h5 --directions axes --trajectory
    landscape plot thesis/$method.slice2d.h5 --log -o thesis/4.4-$method.png
done

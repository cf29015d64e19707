# Figure 4.6: SGD with three falling step sizes from α₁ = 0.03, k counting passes over the data:
# piecewise constant α₁/2ᵏ, exponential α₁e^(−0.2k), polynomial α₁/√(k + 1).
# Seen near the end, where the noise of the single samples is what is left.
set -e
mkdir -p thesis
for schedule in "piecewise --schedule-arg gamma=0.5" "exponential --schedule-arg rate=0.2" \
    "polynomial --schedule-arg beta=1 gamma=0.5"; do
    name=${schedule%% *}
    landscape train --model examples/thesis/regression.py:model --data examples/thesis/regression.py:data \
        --method sgd --sampling uniform --lr 0.03 --schedule $schedule --steps 1000 --checkpoint-every 5 \
        -o thesis/$name.h5
    landscape slice2d thesis/$name.h5 --directions axes --trajectory --span 0.4
    landscape plot thesis/$name.slice2d.h5 -o thesis/4.6-$name.png
done

# SGD with noise of deviation s and the step size α goes down F averaged over N(0, (αs)² I), in the mean
# (Kleinberg, Li and Yuan 2018): gradient descent on F stays in the first ripple, the same with noise does not, nor
# does gradient descent on the average, in closed form.
set -e
mkdir -p smoothing
run="landscape train --model examples/smoothing/ripple.py:model --data point --loss output --method gd --lr 0.05 \
    --steps 100 --checkpoint-every 1 --dtype float64"
$run -o smoothing/gd.h5
$run --noise gaussian --amplitude 5.2 -o smoothing/sgd.h5
$run --model-arg sigma=0.26 -o smoothing/averaged.h5
landscape slice2d smoothing/gd.h5 --directions axes --trajectory --span 2.5 --num-points 81
landscape slice2d smoothing/sgd.h5 --directions axes --trajectory --span 2.5 --num-points 81 --smooth 0.26
landscape slice2d smoothing/averaged.h5 --directions axes --trajectory --span 2.5 --num-points 81
for name in gd sgd averaged; do
    landscape plot smoothing/$name.slice2d.h5 -o smoothing/$name.png
done

# Figure 2: (1 − vφ(w))², φ(z) = −(z − 1)²/8. (1, 1) is a bad minimum, flat along one direction, and (0, 1) none,
# though neither Hessian has a negative eigenvalue. No valley is spurious: from (1, 1) a path that never rises
# leads along w = 1 past v = 0 and down to the minima at v = −8.
set -e
mkdir -p survey
for v in 1 0; do
    landscape train --model toy-neuron --model-arg v=$v w=1 --data point --method gd --steps 1 --dtype float64 \
        -o survey/neuron-$v.h5
    landscape hessian survey/neuron-$v.h5 --exact
done
landscape slice2d survey/neuron-1.h5 --directions axes --span 2
landscape basins --preset survey-2 -o survey/2.h5
landscape plot survey/neuron-1.slice2d.h5 --kind surface -o survey/2-surface.png
landscape plot survey/2.h5 -o survey/2-basins.png

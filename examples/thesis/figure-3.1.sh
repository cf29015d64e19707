# Figure 3.1: the two kinds of stationary points, a minimum (of the regression) and a saddle.
# `hessian --exact` names each by the signs of its eigenvalues.
set -e
mkdir -p thesis
landscape train --model examples/thesis/regression.py:model --data examples/thesis/regression.py:data \
    --method gd --lr 0.1 --steps 400 --dtype float64 -o thesis/minimum.h5
landscape train --model toy-saddle --model-arg v=0 w=0 --data point --loss output \
    --method gd --steps 1 --dtype float64 -o thesis/saddle-point.h5
for name in minimum saddle-point; do
    landscape hessian thesis/$name.h5 --exact
    landscape slice2d thesis/$name.h5 --directions axes
    landscape plot thesis/$name.slice2d.h5 --kind surface -o thesis/3.1-$name.png
done

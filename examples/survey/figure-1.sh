# Figure 1: (1 − vw)², the smallest deep linear net. It is not convex, and has no bad minimum:
# its critical points are the two branches vw = 1 and the saddle between them, at F = 1.
set -e
mkdir -p survey
landscape train --model toy-product --model-arg v=0 w=0 --data point --method gd --steps 1 --dtype float64 \
    -o survey/saddle.h5
landscape hessian survey/saddle.h5 --exact
landscape slice2d survey/saddle.h5 --directions axes --span 1.3
landscape basins --preset survey-1 -o survey/1.h5
landscape plot survey/saddle.slice2d.h5 --kind surface -o survey/1-surface.png
landscape plot survey/1.h5 -o survey/1-basins.png

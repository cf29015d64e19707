# Figure 3: (1 − v max(0, w))². Where the unit is dead, w < 0, F = 1 is flat: bad minima, and no strict one.
# They are joined to the bottom by paths that never rise, so that there is one basin.
set -e
mkdir -p survey
landscape train --model toy-relu-neuron --model-arg v=1 w=-1 --data point --method gd --steps 1 --dtype float64 \
    -o survey/dead.h5
landscape hessian survey/dead.h5 --exact
landscape slice2d survey/dead.h5 --directions axes --span 2
landscape basins --preset survey-3 -o survey/3.h5
landscape plot survey/dead.slice2d.h5 --kind surface -o survey/3-surface.png
landscape plot survey/3.h5 -o survey/3-basins.png

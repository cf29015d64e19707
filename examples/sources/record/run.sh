#!/bin/sh
# A loop that records itself; what it leaves is a run file, at any moment, also where it is killed.
set -e
cd "$(dirname "$0")"
python train.py
landscape show run.h5
landscape slice2d run.h5 --directions pca --trajectory --num-points 21
landscape plot run.slice2d.h5
landscape hessian run.h5 --at all --top-k 1

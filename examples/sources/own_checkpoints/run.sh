#!/bin/sh
# Checkpoints of a loop of one's own as one run file, with no line of code: its path on a plane, its spectra, and a
# curve between two of its epochs. Later checkpoints join the points in a new file.
set -e
cd "$(dirname "$0")"
python mine.py
landscape import sgd_[0-7].pt --model mine.py:net --data mine.py:data --loss cross_entropy -o sgd.h5
landscape import sgd.h5 sgd_[89].pt sgd_1?.pt -o longer.h5
landscape slice2d longer.h5 --directions pca --trajectory --num-points 21
landscape plot longer.slice2d.h5
landscape hessian longer.h5 --at all --top-k 1
landscape connect longer.h5@3 longer.h5 --epochs 10

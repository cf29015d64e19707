# One net under SGD and under Adam, their ways on one plane, and a third run marked on it.
# From any folder: sh examples/sources/two_runs/two_runs.sh [FOLDER], a minute on one core.
set -e
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-two_runs}" && cd "${1:-two_runs}"
mine="--model $here/mine.py:net --data $here/mine.py:data --loss cross_entropy --epochs 20 --checkpoint-every 2"
landscape train $mine --lr 0.1 --momentum 0.9 -o sgd.h5 -q
landscape train $mine --optimizer adam --lr 0.003 -o adam.h5 -q
landscape train $mine --lr 0.02 -o slow.h5 -q

landscape slice2d sgd.h5 adam.h5 --directions pca --trajectory --mark slow.h5 --num-points 31 -o both.h5
landscape plot both.h5 --log
landscape slice2d sgd.h5 adam.h5 --directions pca-first --trajectory --num-points 31 -o first.h5 -q
landscape plot first.h5 --log
landscape slice2d sgd.h5 --block 1 --num-points 31 -o last-layer.h5 -q
landscape plot last-layer.h5 --log

python "$here/proof.py" both.h5 sgd.h5 adam.h5 slow.h5

#!/bin/sh
# A folder as save_pretrained writes it, offline. Run in an empty folder: sh .../hugging_face/run.sh
# The same with a name of the hub: landscape import hf:ORG/NAME@revision --data ...
set -e
here=$(cd "$(dirname "$0")" && pwd)
python "$here/tiny.py"
landscape import checkpoint-60 --data "$here/tiny.py:data" --overwrite -o last.h5
landscape hessian last.h5 --top-k 2 --overwrite
landscape train --model hf:./checkpoint-0 --data "$here/tiny.py:data" --steps 20 --overwrite -o run.h5
landscape train --model hf:./checkpoint-0 --model-arg pretrained=false --data "$here/tiny.py:data" --steps 5 \
  --seed 3 --overwrite -o other.h5
landscape interpolate run.h5 last.h5 --num-points 11 --overwrite -o line.h5

#!/bin/sh
# Checkpoints in the wild: none of them needs a line of code. Run in an empty folder: sh .../in_the_wild/run.sh
set -e
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here:$PYTHONPATH"
python "$here/train.py"
with="--model $here/net.py:build --data $here/net.py:data --overwrite"

landscape import two.pt $with -o two.h5 || echo "(the choices are listed)"
landscape import two.pt --key student $with -o student.h5
landscape import averaged.pt $with -o weights.h5
landscape import averaged.pt --key model_ema $with -o average.h5
landscape import last.ckpt $with -o lightning.h5
landscape import ddp.pt $with -o ddp.h5
landscape import parts $with -o parts.h5
landscape import parts --model "$here/net.py:wrapped" --data "$here/net.py:data" --overwrite -o wrapped.h5
landscape import adapter $with -o adapter.h5

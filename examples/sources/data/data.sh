# Data as they are: a table, a folder of pictures, a loader of dictionaries with masks, a stream read anew at every pass.
# Writes beside itself.
set -e
cd "$(dirname "$0")"
python have.py
landscape train --data iris.csv --target species --data-arg standardise=true --epochs 20 -o iris.h5
landscape hessian iris.h5 --top-k 3
landscape train --model cnn --data pictures --epochs 5 -o pictures.h5
landscape hessian pictures.h5 --top-k 3
landscape train --model have.py:Reader --data have.py:loader --epochs 20 -o words.h5
landscape hessian words.h5 --top-k 3
python -c "import sys, torch; import have; torch.manual_seed(0); torch.save(have.net().state_dict(), 'rows.pt')"
landscape import rows.pt --model have.py:net --data mine.py:stream --loss mse -o rows.h5
landscape hessian rows.h5 --top-k 3
landscape train --model have.py:net --data mine.py:stream --loss mse --sampling ordered --batch-size 256 --epochs 3 -o learnt.h5
landscape hessian learnt.h5 --top-k 3
python plain.py

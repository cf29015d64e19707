# Barriers between small transformers of two seeds: five pairs of language models and five of vision transformers, each
# straight, permuted, moved by all symmetries, refined, and along a curve from there. From the root of the repository:
# sh examples/connectivity/transformers.sh, which goes on from what is there; PAIRS="0" for one pair of each.
set -e
PAIRS=${PAIRS:-0 2 4 6 8}
HERE=connectivity/transformers
mkdir -p $HERE
train() { landscape train --optimizer adam --threads 1 -q "$@"; }
for a in $PAIRS; do
    for seed in $a $((a + 1)); do
        train --model examples/connectivity/vit.py:model --data digits --lr 0.002 --batch-size 64 --epochs 40 \
            --seed "$seed" -o "$HERE/vit-$seed.h5"
        train --model examples/language_model/decoder.py:model --model-arg width=64 depth=1 context=32 \
            --data examples/language_model/decoder.py:text --data-arg samples=1024 context=32 \
            --lr 0.003 --batch-size 32 --epochs 12 --seed "$seed" -o "$HERE/language-$seed.h5"
    done
    for kind in vit language; do
        first=$HERE/$kind-$a.h5 second=$HERE/$kind-$((a + 1)).h5 pair=$HERE/$kind-pair-$a
        mkdir -p "$pair"
        align() { landscape align "$first" "$second" --restarts 1 --num-points 11 --threads 1 -q "$@"; }
        align -o "$pair/permuted.h5"
        align --symmetry all -o "$pair/all.h5"
        align --symmetry all --refine 100 -o "$pair/refined.h5"
        landscape connect "$first" "$pair/refined.h5" --epochs 5 --lr 0.02 --batch-size 32 --num-points 11 \
            --tolerance inf --threads 1 -q -o "$pair/curve.h5"
    done
done

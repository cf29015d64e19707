# A language model, whole: trained twice, its curvature, its layers, sharpness along training, and what lies between both.
# From the root of the repository: sh examples/language_model/run.sh, which writes into language_model/ and goes on from
# what is there. A million parameters as it stands; SIZE='width=320 depth=8' for ten.
set -e
SIZE=${SIZE:-width=128 depth=5}
EVERY=${EVERY:-1} # epochs, of which there are four times as many
TEXT=${TEXT:-2048}  # pieces of text in training
PIECES=${PIECES:-64} # of these in curvature; in that of the layers a quarter
HERE=examples/language_model
mkdir -p language_model
for seed in 0 1; do
    landscape train --model $HERE/decoder.py:model --model-arg $SIZE --data $HERE/decoder.py:text --data-arg samples=$TEXT --optimizer adam \
        --lr 0.001 --batch-size 16 --epochs $((4 * EVERY)) --checkpoint-every "$EVERY" --seed $seed -o language_model/$seed.h5
done
# The ten largest eigenvalues and the density, with their certificates; and the largest of each layer.
landscape hessian language_model/0.h5 --subset "$PIECES" --subsets 1 --top-k 10 --density --probes 2 --steps 20 \
    -o language_model/spectrum.h5
landscape hessian language_model/0.h5 --subset $((PIECES / 4)) --subsets 1 --per-layer --top-k 1 --tol 1e-3 \
    -o language_model/layers.h5
# Critical sharpness along training.
for point in "epoch=$EVERY" "epoch=$((2 * EVERY))" "epoch=$((3 * EVERY))" final; do
    landscape sharpness "language_model/0.h5@$point" --subset "$PIECES" --critical --rescaling none --sigmas 0.01 \
        --draws 4 --ascent-steps 1 -o "language_model/sharpness-${point#epoch=}.h5"
done
# Between two runs: straight, with hidden units and heads arranged alike, and along a curve.
landscape align language_model/0.h5 language_model/1.h5 --num-points 11 -o language_model/align.h5
landscape connect language_model/0.h5 language_model/1.h5 --align --epochs 2 --lr 0.02 --batch-size 16 --num-points 11 \
    -o language_model/connect.h5
# The loss along directions as long as the filters, and as random numbers come.
landscape slice1d language_model/0.h5 --subset "$PIECES" --draws 3 --num-points 21 -o language_model/filter.h5
landscape slice1d language_model/0.h5 --subset "$PIECES" --draws 3 --num-points 21 --norm none --span 0.02 \
    -o language_model/random.h5
for one in 0 spectrum layers align connect filter random; do
    landscape plot language_model/$one.h5 -o language_model/$one.png
done

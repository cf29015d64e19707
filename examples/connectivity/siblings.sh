# Three families of nets on the digits, each with nets fine-tuned from one ancestor, nets that share its initial point
# alone, and nets that share nothing; each three merged, beside their mean as they are. From the root of the repository:
# sh examples/connectivity/siblings.sh, which goes on from what is there.
set -e
HERE=connectivity/siblings
mkdir -p $HERE
MODEL="--model cnn --model-arg channels=16,32 batchnorm=true"
DATA="--data digits --data-arg image=true"
train() { landscape train --momentum 0.9 --lr 0.05 --batch-size 32 --threads 1 -q "$@"; }
for family in 0 1 2; do
    ancestor=$HERE/ancestor-$family.h5
    # The ancestor has seen a fifth of the data, its descendants see all.
    train $MODEL $DATA --subset 300 --epochs 20 --seed "$family" -o "$ancestor"
    for child in 1 2 3; do
        seed=$family$child
        train --init "$ancestor" $DATA --epochs 10 --seed "$seed" -o "$HERE/sibling-$seed.h5"
        train --init "$ancestor@init" $DATA --epochs 14 --seed "$seed" -o "$HERE/twin-$seed.h5"
        train $MODEL $DATA --epochs 14 --seed "$seed" -o "$HERE/stranger-$seed.h5"
    done
    for kind in sibling twin stranger; do
        landscape merge "$HERE/$kind-${family}1.h5" "$HERE/$kind-${family}2.h5" "$HERE/$kind-${family}3.h5" \
            --threads 1 -q -o "$HERE/merged-$kind-$family.h5"
    done
done
landscape plot $HERE/merged-stranger-0.h5 --width 4 --dpi 130 -q -o $HERE/connectivity-siblings.png

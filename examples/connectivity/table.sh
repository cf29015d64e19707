# The table of mode connectivity: five pairs of digits nets and every path between the two of a pair.
set -e
mkdir -p connectivity
for seed in 0 1 2 3 4 5 6 7 8 9; do
    landscape train --model mlp --model-arg widths=128,128 --data digits --epochs 60 --lr 0.1 --momentum 0.9 \
        --batch-size 64 --seed "$seed" --threads 1 -q -o "connectivity/net-$seed.h5"
done
for a in 0 2 4 6 8; do
    # The net it is joined to, and the folder of the pair.
    first=connectivity/net-$a.h5 second=connectivity/net-$((a + 1)).h5 pair=connectivity/pair-$a
    mkdir -p "$pair"
    interpolate() { landscape interpolate "$first" "$second" --num-points 61 --threads 1 -q "$@"; }
    connect() { landscape connect "$first" "$second" --tolerance inf --threads 1 -q "$@"; }
    align() { landscape align "$first" "$second" --threads 1 -q "$@"; }
    interpolate -o "$pair/straight.h5"
    interpolate --batchnorm repair -o "$pair/repair.h5"
    align -o "$pair/align.h5"
    align --symmetry scaling -o "$pair/align-rescale.h5"
    align --match activations -o "$pair/align-activations.h5"
    align --refine 1000 -o "$pair/align-refine.h5"
    align --symmetry scaling --refine 1000 -o "$pair/align-rescale-refine.h5"
    connect --align --epochs 60 -o "$pair/align-bezier.h5"
    connect --epochs 180 -o "$pair/bezier.h5"
    connect --method chain --epochs 180 -o "$pair/chain.h5"
    connect --method minmax --epochs 180 -o "$pair/minmax.h5"
done

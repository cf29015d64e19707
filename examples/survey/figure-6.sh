# Figure 6 (conjectures V.3 and V.4): in the plane of three solutions every path between two of them rises;
# in the plane of two and a third point that is sought for it, one does not.
set -e
mkdir -p survey
for seed in 0 1 2; do
    landscape train --model mlp --model-arg widths=30,30 --data circles --data-arg num_samples=200 noise=0.1 \
        --epochs 300 --batch-size 20 --seed $seed -o survey/solution-$seed.h5
done
landscape slice2d survey/solution-0.h5 survey/solution-1.h5 survey/solution-2.h5 -o survey/three.h5
landscape basins survey/three.h5 --persistence 0.01 -o survey/three-basins.h5
landscape connect survey/solution-0.h5 survey/solution-1.h5 --plane --epochs 300 --batch-size 20 --lr 0.05 \
    -o survey/curve.h5
landscape plot survey/three.h5 --log -o survey/6-three.png
landscape plot survey/three-basins.h5 -o survey/6-three-basins.png
landscape plot survey/curve.h5 --log -o survey/6-curve.png

# Figure 5 (conjecture V.2): a random plane through the end of training, for a narrow net and for a wide one:
# basins of its own, deeper than 0.02, and none.
set -e
mkdir -p survey
for width in 3 100; do
    landscape train --model mlp --model-arg widths=$width,$width --data circles \
        --data-arg num_samples=200 noise=0.1 --epochs 300 --batch-size 20 -o survey/width-$width.h5
    landscape slice2d survey/width-$width.h5 --span 3 --num-points 101
    landscape basins survey/width-$width.slice2d.h5 --persistence 0.02
    landscape plot survey/width-$width.slice2d.h5 --log -o survey/5-width-$width.png
    landscape plot survey/width-$width.slice2d.basins.h5 -o survey/5-width-$width-basins.png
done

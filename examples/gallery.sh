# Every picture of the gallery, examples/README.md, from commands of a few seconds each.
# From the root of the repository: sh examples/gallery.sh, which writes into gallery/.
set -e
mkdir -p gallery
for seed in 0 1 2; do
    landscape train --model mlp --model-arg widths=128,128 --data digits --epochs 60 --lr 0.05 --momentum 0.9 \
        --checkpoint-every 5 --seed "$seed" -o "gallery/net-$seed.h5"
done
landscape train --model mlp --model-arg widths=16 --data digits --epochs 20 -o gallery/small.h5
landscape plot gallery/net-0.h5 -o gallery/train.png
landscape slice1d gallery/net-0.h5 --draws 5 -o gallery/slice1d.h5
landscape plot gallery/slice1d.h5
landscape slice2d gallery/net-0.h5 -o gallery/slice2d.h5
landscape plot gallery/slice2d.h5 --log
landscape slice2d gallery/net-0.h5 --directions pca --trajectory -o gallery/trajectory.h5
landscape plot gallery/trajectory.h5 --log
landscape plot gallery/slice2d.h5 --kind surface --log -o gallery/surface.png
landscape slice2d gallery/net-0.h5 gallery/net-1.h5 gallery/net-2.h5 --num-points 31 -o gallery/three-points.h5
landscape plot gallery/three-points.h5 --log
landscape hessian gallery/net-0.h5 --top-k 5 --bottom-k 5 --trace --density -o gallery/spectrum.h5
landscape plot gallery/spectrum.h5
landscape train --model mlp --model-arg widths=128,128 activation=tanh --data digits --method gd --lr 0.5 --epochs 200 \
    --checkpoint-every 10 -o gallery/full-batch.h5
landscape hessian gallery/full-batch.h5 --at all --top-k 1 -o gallery/along-training.h5
landscape plot gallery/along-training.h5
landscape sharpness gallery/net-0.h5 -o gallery/sharpness.h5
landscape plot gallery/sharpness.h5
landscape slice2d gallery/small.h5 --curvature --num-points 11 -o gallery/curvature-map.h5
landscape plot gallery/curvature-map.h5
landscape interpolate gallery/net-0.h5@init gallery/net-0.h5@final -o gallery/interpolate.h5
landscape plot gallery/interpolate.h5
landscape connect gallery/net-0.h5 gallery/net-1.h5 --method chain --bends 3 --plane -o gallery/connect.h5
landscape plot gallery/connect.h5 --log
landscape connect gallery/net-0.h5 gallery/net-1.h5 gallery/net-2.h5 --epochs 20 --align -o gallery/modes.h5
landscape plot gallery/modes.h5
landscape align gallery/net-0.h5 gallery/net-1.h5 -o gallery/align.h5
landscape plot gallery/align.h5
landscape merge gallery/net-0.h5 gallery/net-1.h5 gallery/net-2.h5 -o gallery/merge.h5
landscape plot gallery/merge.h5
landscape sharpness gallery/net-0.h5 --critical -o gallery/critical-sharpness.h5
landscape plot gallery/critical-sharpness.h5
landscape basins gallery/three-points.h5 --persistence 0.05 -o gallery/basins.h5
landscape plot gallery/basins.h5
landscape certify gallery/small.h5 --at all --subset 50 -o gallery/certify.h5
landscape plot gallery/certify.h5 --log
landscape escape --preset saddle -o gallery/escape.h5
landscape plot gallery/escape.h5
for epoch in 0 20 40 60; do
    landscape export "gallery/net-0.h5@epoch=$epoch" -o "gallery/epoch-$epoch.safetensors"
done
landscape import gallery/epoch-*.safetensors --model mlp --model-arg widths=128,128 --data digits -o gallery/import.h5
landscape plot gallery/import.h5
landscape export gallery/slice2d.h5 -o gallery/surface.h5
landscape import-surface gallery/surface.h5 -o gallery/import-surface.h5
landscape plot gallery/import-surface.h5 --log
landscape compare gallery/net-0.h5 gallery/net-1.h5 gallery/net-2.h5 -o gallery/compare.h5
landscape plot gallery/compare.h5
landscape report gallery/net-0.h5 gallery/slice2d.h5 gallery/spectrum.h5 -o gallery/report.html

# Figure 5.7: how small SGD makes the gradient, with the steps as the thesis prints them, 0.001 to 0.01, on 1000
# samples after a shorter descent and in shorter runs; whole, `landscape noise --preset thesis-5.3-printed`.
set -e
mkdir -p thesis
landscape noise --preset thesis-5.3-printed --subset 1000 --descent-steps 2000 --steps 3000 --seeds 10 \
    -o thesis/printed.h5
landscape plot thesis/printed.h5 -o thesis/5.7-printed.png

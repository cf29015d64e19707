# Figure 4.3: gradient descent comes near the saddle of (1 − vw)² at the origin, slows down, and escapes.
set -e
mkdir -p thesis
landscape train --model toy-product --model-arg v=1.5 w=-1.48 --data point \
    --method gd --lr 0.02 --steps 300 --checkpoint-every 6 -o thesis/escape.h5
landscape slice2d thesis/escape.h5 --directions axes --trajectory
landscape plot thesis/escape.slice2d.h5 --log --levels 0.02,0.1,0.3,0.6,0.9,1.1,1.5,2.5,5,10,21 -o thesis/4.3-escape.png

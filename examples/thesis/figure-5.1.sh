# The data of experiment 5.1, two circles in noise, with where the best nets of three widths change sign on them.
set -e
mkdir -p thesis
landscape minima --preset thesis-5.1 --depths 1 --widths 1,5,20 --restarts 10 --steps 4000 --max-steps 8000 \
    -o thesis/circles.h5
landscape plot thesis/circles.h5 -o thesis/5.1-data.png

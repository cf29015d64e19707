# The rows of the papers named, or of all: sh examples/papers/run.sh cohen_2021
set -e
exec python examples/papers/paper.py "$@"

#!/bin/sh -e
# Two runs of one command from one file, then what joins them; every option of a command, commented, by init.
cd "$(dirname "$0")"
landscape train --config runs.toml
landscape connect --config runs.toml
landscape init hessian -o hessian.toml
landscape hessian --config hessian.toml --top-k 3

#!/usr/bin/env bash
# Makes its own environment and stylizes a sample picture: no network needed once it is installed.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install --editable .
mkdir -p out
sample() { "$environment/bin/python" -c "from nst_jax import samples; print(samples.path('$1'))"; }
"$environment/bin/nst-jax" stylize "$(sample "${1:-cat}")" "$(sample "${2:-night}")" \
  --network vgg19-lite --offline --size 400 --iterations 250 --output out/demo.png --force

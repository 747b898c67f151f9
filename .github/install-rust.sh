#!/bin/sh
# Installs the toolchain that RUSTUP_TOOLCHAIN names, with what `cargo xtask` would ask of rustup, and further targets.
set -eu
set -- wasm32-wasip1 wasm32-wasip2 "$@"
for target; do
  set -- "$@" --target "$target"
  shift
done
rustup toolchain install "$RUSTUP_TOOLCHAIN" --no-self-update --profile minimal --component clippy --component rustfmt "$@"
rustc --version --verbose

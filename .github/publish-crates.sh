#!/bin/bash
# Publishes the crates of this version that crates.io does not have: a job that failed half-way can be run again.
set -euo pipefail
published=()
while read -r name version; do
  if cargo info --quiet --registry crates-io "$name@$version" > /dev/null 2>&1; then
    published+=(--exclude "$name")
  fi
done < <(cargo metadata --no-deps --format-version 1 | jq -r '.packages[] | select(.publish == null) | "\(.name) \(.version)"')
cargo publish --workspace --locked --allow-dirty --no-verify "${published[@]}" "$@"

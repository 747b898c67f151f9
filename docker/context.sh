#!/bin/sh
# Lays the programs of a release for Linux out as the Dockerfile expects them.
#
# context.sh FOLDER CONTEXT
set -eu
for program in token-broker mock-identity; do
  for platform in amd64:x86_64 arm64:aarch64; do
    file=$1/$program-${platform#*:}-unknown-linux-musl
    # A build for one machine has one of the two.
    [ ! -e "$file" ] || install -D -m 0755 "$file" "$2/${platform%:*}/$program"
  done
done

#!/bin/sh
# Builds the images from the programs of a release, and gets a token from the mock in one of them by the command in the other,
# as two containers of a pod.
#
# try.sh FOLDER; DOCKER is another program that takes Docker's arguments.
set -eu
docker=${DOCKER:-docker}
context=$(mktemp -d)
mock=
trap 'rm -rf "$context"; [ -z "$mock" ] || "$docker" rm --force "$mock" > /dev/null' EXIT

docker/context.sh "$1" "$context"
for image in serve mock-identity; do
  "$docker" build --target "$image" --tag "localhost/try-$image" --file docker/Dockerfile "$context"
done
mock=$("$docker" run --detach --read-only --network none localhost/try-mock-identity)
# Ten seconds: a mock that ends at once prints nothing, and the command below fails.
for _ in $(seq 100); do
  if "$docker" logs "$mock" | grep -q http; then break; fi
  sleep 0.1
done
"$docker" run --rm --read-only --network "container:$mock" \
  --env AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:8181 localhost/try-serve get --scope https://vault.azure.net

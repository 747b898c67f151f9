#!/bin/sh
# Pushes the container images of a release, and tells the next step their names and digests.
#
# push-images.sh FOLDER, as GITHUB_REPOSITORY, GITHUB_REF_NAME and GITHUB_OUTPUT say
set -eu
folder=$1
packages=ghcr.io/$(echo "$GITHUB_REPOSITORY" | tr '[:upper:]' '[:lower:]')
version=${GITHUB_REF_NAME#v}

# The driver that is there makes images of one platform only.
docker buildx create --use
for image in serve mock-identity; do
  docker/context.sh "$folder" "$RUNNER_TEMP/$image"
  docker buildx build --push --platform linux/amd64,linux/arm64 --target "$image" \
    --tag "$packages/$image:$version" --label "org.opencontainers.image.source=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY" \
    --metadata-file "$RUNNER_TEMP/$image.json" --file docker/Dockerfile "$RUNNER_TEMP/$image"
  echo "$image-name=$packages/$image" >> "$GITHUB_OUTPUT"
  echo "$image-digest=$(jq -r '."containerimage.digest"' "$RUNNER_TEMP/$image.json")" >> "$GITHUB_OUTPUT"
done

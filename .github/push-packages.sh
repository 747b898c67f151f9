#!/bin/sh
# Pushes the components, the contract and the Envoy filter of a release, each as the kind of package that its users pull.
#
# push-packages.sh FOLDER WKG, as GITHUB_REPOSITORY and GITHUB_REF_NAME say; PACKAGES_REGISTRY is another registry.
set -eu
folder=$1
wkg=$2
chmod +x "$wkg"
source=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY
packages=${PACKAGES_REGISTRY:-ghcr.io}/$(echo "$GITHUB_REPOSITORY" | tr '[:upper:]' '[:lower:]')
version=${GITHUB_REF_NAME#v}

# Istio, Envoy Gateway and Kuma read a module from exactly these two layers: the *oci* variant of the Wasm Image Specification.
push_module() {
  cp "$1" "$folder/plugin.wasm"
  echo '{"type": "envoy_proxy", "abiVersions": ["v0.2.1"], "config": {"rootIds": []}}' > "$folder/runtime-config.json"
  (
    cd "$folder"
    oras push "$2" --annotation "org.opencontainers.image.source=$source" \
      runtime-config.json:application/vnd.module.wasm.config.v1+json \
      plugin.wasm:application/vnd.module.wasm.content.layer.v1+wasm
  )
  rm "$folder/plugin.wasm" "$folder/runtime-config.json"
}

for file in "$folder"/*.wasm; do
  name=$(basename "$file" .wasm)
  case $name in
    token-filter) push_module "$file" "$packages/$name:$version" ;;
    *) "$wkg" oci push "$packages/$name:$version" "$file" --annotation "org.opencontainers.image.source=$source" ;;
  esac
done

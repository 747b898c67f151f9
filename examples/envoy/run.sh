#!/usr/bin/env bash
# Start one of the examples with the mock platform in the place of Azure, until interrupted: run.sh imds
set -euo pipefail
cd "$(dirname "$0")/../.."

example="examples/envoy/${1:?which one? imds, workload-identity or egress}/envoy.yaml"
mock=target/release/mock-identity
envoy=target/hosts/bin/envoy
[ -e target/components/token-filter.wasm ] || cargo xtask build token-filter
[ -e $envoy ] || cargo xtask setup hosts
[ -e $mock ] || cargo build --release -p mock-identity

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$scratch"' EXIT
$mock --listen 127.0.0.1:10181 --listen-tls 127.0.0.1:10443 --tls-ca-out "$scratch/ca.pem" >"$scratch/mock.log" &
until [ -s "$scratch/mock.log" ]; do sleep 0.1; done

# What the webhook of AKS does, for an app that the mock has.
export AZURE_TENANT_ID=aaaabbbb-0000-cccc-1111-dddd2222eeee AZURE_CLIENT_ID=55556666-ffff-7777-aaaa-8888bbbb9999
mkdir "$scratch/tokens"
curl --silent --fail http://127.0.0.1:10181/admin/federated-token/worker >"$scratch/tokens/azure-identity-token"

# The mock is at other addresses than Azure and has an authority of its own; nothing else is changed.
sed -e "s|address: 169.254.169.254, port_value: 80|address: 127.0.0.1, port_value: 10181|" \
    -e "s|address: [a-z.-]*, port_value: 443|address: 127.0.0.1, port_value: 10443|" \
    -e "s|sni: .*|sni: localhost|; s|exact: [a-z.-]*|exact: localhost|" \
    -e "s|/etc/ssl/certs/ca-certificates.crt|$scratch/ca.pem|" \
    -e "s|/var/run/secrets/azure/tokens|$scratch/tokens|" "$example" >"$scratch/envoy.yaml"
$envoy -c "$scratch/envoy.yaml" --use-dynamic-base-id --log-level warning --component-log-level wasm:info &
wait -n

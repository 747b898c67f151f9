#!/bin/sh
# Prepares a runner for the tests that need more than a package registry. The tests themselves do not run as root.
set -eu
sudo apt-get update
sudo apt-get install -y --no-install-recommends redis-server
# The tests start servers of their own.
sudo systemctl disable --now redis-server
# Azure Arc's agent writes its keys there; the mock does, and Azure's SDKs read them from nowhere else.
sudo install -d -m 0777 /var/opt/azcmagent/tokens

#!/bin/sh
# Pushes an update to every page that shows the extension ID: the backend's whole part, one curl.
# usage: push.sh [ID [JSON]]      BROKER=HOST:PORT where the broker is not on 127.0.0.1:8000
set -eu
id=${1:-copilot}
update=${2:-"{\"status\":\"updated\"}"}

curl --silent --show-error --fail-with-body -X POST "http://${BROKER:-127.0.0.1:8000}/v1/topics/$id/messages" \
  -H 'Content-Type: application/json' -d "$update"
echo

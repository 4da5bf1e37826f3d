#!/usr/bin/env bash
# Is the API's document good OpenAPI 3.1? Asked of two linters that know nothing of this program, installed into a scratch
# folder: openapi-spec-validator (PyPI) for the specification, Redocly's CLI (npm) for what documentation needs.
#   tests/openapi-lint.sh [path of the facelatch program]
set -euo pipefail
cd "$(dirname "$0")/.."

facelatch=${1:-${CARGO_TARGET_DIR:-target}/release/facelatch}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$facelatch" serve --openapi > "$scratch/openapi.json"

python3 -m venv "$scratch/python"
"$scratch/python/bin/pip" install --quiet --disable-pip-version-check openapi-spec-validator==0.9.0
"$scratch/python/bin/openapi-spec-validator" "$scratch/openapi.json"

# operation-4xx-response asks for errors where there are none to make; the server's own address is relative on purpose.
cat > "$scratch/redocly.yaml" <<'YAML'
extends: [recommended]
rules:
  operation-4xx-response: off
  no-server-example.com: error
YAML
npm install --silent --no-fund --no-audit --prefix "$scratch/node" @redocly/cli@2
REDOCLY_TELEMETRY=off "$scratch/node/node_modules/.bin/redocly" lint --config "$scratch/redocly.yaml" "$scratch/openapi.json"

#!/usr/bin/env bash
# What of the admin API programs rely on, one fact a line, from openapi/admin.json; see openapi/CHANGELOG.md.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 - <<'PY'
import json

api = json.load(open("openapi/admin.json"))
facts = set()
for item in api["paths"].values():
    for operation in item.values():
        name = operation["operationId"]
        facts.add((name, "-"))
        facts |= {(name, parameter["name"]) for parameter in operation.get("parameters", [])}
        facts |= {(name, status) for status in operation["responses"]}
for name, schema in api["components"]["schemas"].items():
    facts.add((name, "-"))
    facts |= {(name, member) for member in schema.get("properties", {})}
    facts |= {(name, value) for value in schema.get("enum", [])}
for subject, detail in sorted(facts):
    print(subject, detail)
PY

#!/bin/sh
# Writes the versions and hashes of the image's libraries anew: deploy/requirements.lock for
# what the services need, deploy/build.lock for what builds the package.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet uv

compile() {
    "$folder/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade "$@"
}

compile pyproject.toml --extra services --output-file deploy/requirements.lock
echo 'hatchling>=1.25' | compile - --output-file deploy/build.lock

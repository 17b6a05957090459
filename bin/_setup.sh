# Sourced by bin/demo, bin/test and .ci/run: makes .venv on first use, and again
# whenever what it needs changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wanted=$(cat requirements.txt setup.cfg | sha256sum)
if [ "$(cat .venv/.requirements 2>/dev/null)" != "$wanted" ]; then
    echo "Setting up .venv with the packages of requirements.txt (once, some minutes)."
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
    echo "$wanted" > .venv/.requirements
fi

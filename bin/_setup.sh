# Sourced by bin/demo and bin/test: makes .venv on first use, and again whenever
# requirements.txt changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wanted=$(sha256sum requirements.txt)
if [ "$(cat .venv/.requirements 2>/dev/null)" != "$wanted" ]; then
    echo "Setting up .venv with the packages of requirements.txt (once, some minutes)."
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
    echo "$wanted" > .venv/.requirements
fi

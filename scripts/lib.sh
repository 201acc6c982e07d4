# Shared by the scripts of this folder: where things go, and how a person is told what happens. Sourced, never run.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${NEARDATA_CACHE:-$HOME/.cache/neardata}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
VENV=${NEARDATA_VENV:-$CACHE/venv}
DATA=$CACHE/data
NEARDATA=$CARGO_TARGET_DIR/release/neardata

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { printf '\nerror: %s\n' "$*" >&2; exit 1; }

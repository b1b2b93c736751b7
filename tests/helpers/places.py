"""Where things lie that tests use."""

from pathlib import Path

HELPERS = Path(__file__).resolve().parent
TESTS = HELPERS.parent
ROOT = TESTS.parent
EXAMPLES = ROOT / "examples"
TORCH_CHECKPOINTS = TESTS / "golden" / "torch_checkpoints"

# Files that lie beside the project on some machines only.
SHARED_DATA = ROOT.parent / "shared" / "data"
SHARED_FAULTS = ROOT.parent / "shared" / "faults"

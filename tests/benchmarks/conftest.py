"""The benchmarks are scripts beside each other, and import each other as such."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

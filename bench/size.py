"""Installed size of the core without extras: python bench/size.py [--torch 2.13.0] [--again]

Makes a fresh environment in .bench/size, installs this project into it and adds up the files of every package as its own
RECORD lists them (what a command compiled on first use, __pycache__, is counted apart).
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from common import command_line

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".bench" / "size"
MB = 1e6
LISTING = """
import json
from importlib.metadata import distributions
found = {}
for one in distributions():
    sizes = [file.locate() for file in one.files or ()]
    kept = [path for path in sizes if path.is_file() and "__pycache__" not in path.parts]
    found[one.metadata["Name"]] = [one.version, sum(path.stat().st_size for path in kept)]
print(json.dumps(found))
"""


def installed(torch: str, again: bool) -> Path:
    """The environment's interpreter; made anew unless one is there."""
    python = PLACE / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if again or not python.exists():
        shutil.rmtree(PLACE, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(PLACE)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, str(ROOT), f"torch=={torch}"], check=True)
    return python


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--torch", default="2.13.0")
    parser.add_argument("--again", action="store_true", help="make the environment anew")
    options = parser.parse_args()
    python = installed(options.torch, options.again)
    listed = subprocess.run([str(python), "-c", LISTING], check=True, capture_output=True, text=True).stdout
    found = {name: facts for name, facts in json.loads(listed).items() if name.lower() not in ("pip", "setuptools")}
    sizes = {name: (version, size / MB) for name, (version, size) in found.items()}
    print(f"{'package':28} {'version':16} {'MB':>8}")
    for name, (version, size) in sorted(sizes.items(), key=lambda item: -item[1][1]):
        print(f"{name:28} {version:16} {size:8.1f}")
    total = sum(size for _, size in sizes.values())
    torch = sum(size for name, (_, size) in sizes.items() if name.lower().startswith(("torch", "triton", "nvidia", "cuda")))
    print(f"{'total':28} {len(sizes):<16} {total:8.1f}")
    print(f"{'without torch and its CUDA':28} {'':16} {total - torch:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

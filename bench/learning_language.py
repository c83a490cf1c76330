"""Learning from little text in little time: samples `novel` and `poems` against 5-gram Kneser–Ney on the same tokens.

python bench/learning_language.py [--minutes 5] [novel poems]      bits per byte of the test text; the bar: a tenth below Kneser–Ney
"""

import sys
import tempfile
from pathlib import Path

from common import command_line, trained
from duomo import samples

BAR = 0.10


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("names", nargs="*", default=["novel", "poems"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.names:
            path = samples.write(name, Path(folder))
            results = trained(path, {}, minutes=arguments.minutes).results
            found = {result["name"]: result["metrics"]["bits_per_byte"]["value"] for result in results}
            own, ngram = next(iter(found.values())), found["5-gram Kneser–Ney"]
            gain = 1 - own / ngram
            print(f"{name:8} {own:.3f} against {ngram:.3f}: {gain:+.1%} {'met' if gain >= BAR else 'MISSED'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

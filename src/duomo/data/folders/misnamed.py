"""Pictures and films whose names do not say so, or whose forms are not read: told by first bytes; none is passed over in silence."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from duomo.core import films
from duomo.core.errors import DataError
from duomo.core.kinds import image, media
from duomo.core.messages import listed, together, tr
from duomo.data.folders.files import kind_of

LOOKED_AT, HEAD = 5000, 1024
"""Files of no known ending that are looked into, and bytes of each."""


def misnamed(root: Path, files: Sequence[str], others: bool = True) -> list[str]:
    """Sentences on what is passed over; DataError where there is nothing else to read."""
    found = defaultdict[str, list[str]](list)
    for file in [file for file in files if not kind_of(file)][:LOOKED_AT]:
        found[_shown(media.head(root / file, HEAD))].append(file)
    told = {what: {"count": len(names), "names": listed(names, 3)} for what, names in found.items()}
    if "picture" in told and not others:
        raise DataError("The names of pictures must end in .jpg, .png or the like; {count} files of {folder} are pictures but do not "
                        "({names}). Rename them.", folder=root.name, **told["picture"])  # fmt: skip
    said = []
    if "picture" in told:
        said.append(tr("{count} pictures are left out, for their names do not end as a picture's ({names}): rename them to .jpg or .png.",
                       **told["picture"]))  # fmt: skip
    if "film" in told:
        said.append(tr("{count} files hold films under names that no film has ({names}): rename them to .mp4 or .mkv.",
                       **told["film"]))  # fmt: skip
    if "form" in told:
        said.append(tr("{count} files hold pictures or films in forms that nothing here reads ({names}): make them PNG or MP4, for "
                       "example: magick IN OUT.png; ffmpeg -i IN OUT.mp4", **told["form"]))  # fmt: skip
    if said and not others:
        raise DataError("{problems}", problems=together(said))
    return said


def _shown(head: bytes) -> str:
    """What begins so: a picture or a film to be renamed, one in a form that is not read, or nothing of that kind."""
    if head.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8")) or (head[:4], head[8:12]) == (b"RIFF", b"WEBP"):
        return "picture"
    if image.form_of(head) not in ("", "SVG") or head.startswith(image.TIFF) or films.OTHERS.match(head):  # pages hold SVG, too
        return "form"
    return "film" if films.magic(head) else ""

"""Pictures and films as a model sees them: features of the trunk, grouped, mapped in two dimensions, doubles and odd ones; a page and JSON.
Without a model pictures are told by their edges and colours.

Legend: N rows, D features, K groups.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from duomo.core import find
from duomo.core.config import build
from duomo.core.contract import Head
from duomo.core.device import at_hand, offered
from duomo.core.errors import ConfigError, DataError
from duomo.core.messages import tr
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import DataConfig, EncodeConfig
from duomo.core.reporter import Reporter
from duomo.core.run import run_name
from duomo.core.table import Table
from duomo.core.tensors import Examples
from duomo.data.encode import InputEncoder
from duomo.data.loader import batches
from duomo.data.readable import opening
from duomo.evaluate.report import explore as report
from duomo.evaluate.worst_errors import bytes_of, strip, thumbnail
from duomo.exchange.opening import open_pretrained
from duomo.exchange.trunks import alone
from duomo.nn.picture_features import PictureFeatures
from duomo.plan import read
from duomo.train import adapt

LEAST, BATCH, SEED = 5, 32, 0
MOST_GROUPS, JUDGED, MAPPED, COMPONENTS = 12, 2000, 3000, 50
"""Groups tried; rows that the silhouette is computed on, and that t-SNE maps (more: principal components); components before both."""
ALIKE, PAIRS, ODD, IN_A_ROW, ON_THE_MAP = 0.98, 12, 24, 10, 300
NEIGHBOURS, CANDIDATES = 5, 40
"""Nearest rows that a row is compared with, and near ones by the components that they are sought among."""
LABELS = 40


class Grouping(NamedTuple):
    """What the features say."""

    group_N: np.ndarray
    distance_N: np.ndarray
    """To the middle of the own group."""
    silhouette: float
    place_N2: np.ndarray
    method: str
    pairs: list[tuple[float, int, int]]
    strange_N: np.ndarray
    """Mean distance to the nearest neighbours."""


def explore(source: str, start: str, html: str, picture_size: int, reporter: Reporter) -> dict[str, Any]:
    """Write the page and its figures; returns the figures. ConfigError or DataError where there is nothing to compare."""
    table = read(source, DataConfig(), reporter)
    columns = table.of_kind("image") or table.of_kind("video")
    if not columns:
        raise DataError("Exploring needs pictures or films; {source} has no column of them. What other data hold: duomo inspect {source}",
                        source=source)  # fmt: skip
    table, why = opening(table)
    for sentence in why:
        reporter.say(sentence)
    if len(table) < LEAST:
        raise DataError("Exploring needs at least {least} pictures or films that open; {source} has {rows}.",
                        least=LEAST, source=source, rows=len(table))  # fmt: skip
    if not start and table.kinds[columns[0]] == "video":
        raise ConfigError("Films are explored as a model sees them; none was named. Name a run with --from.")
    features_ND = (
        features(table, columns[0], alone(open_pretrained(start)), picture_size) if start else plain(table, columns[0], picture_size)
    )
    found = grouped(features_ND)
    column = next((name for name in table.names if table.kinds[name] == "category" and 1 < len(_labels(table, name)) <= LABELS), "")
    facts = _facts(
        table, columns[0], column, found, (Path(start).name if start else tr("a glance at edges and colours"), features_ND.shape[1])
    )
    page = Path(html or f"{run_name(source)}.explore.html")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(report.render(facts, _sources(table, columns[0], facts), run_name(source)), encoding="utf-8")
    beside = page.with_suffix(".json")
    beside.write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for line in report.headline(facts):
        reporter.say(line)
    reporter.say(tr("The page: {page}; its figures as JSON: {facts}", page=page, facts=beside))
    return facts


def plain(table: Table, column: str, picture_size: int = 0) -> np.ndarray:
    """(N, D) float32, rows of length one: edges, colours and a thumbnail of each picture (nn/picture_features.py), less their means."""
    encoder = InputEncoder(EncodeConfig(picture_size=picture_size))
    encoder.fit(table, [column])
    (name, encoded), = encoder.encode(table, kept=True).items()  # fmt: skip
    glimpse = PictureFeatures(encoder.fields()[name], 1)
    found_ND, row = np.zeros((len(table), sum(glimpse.parts)), np.float32), 0
    with torch.inference_mode():
        for _, batch in batches(Examples({name: encoded}), encoder.fields(), BATCH):
            told_BD = torch.cat(glimpse.describe(batch[name]), 1).cpu().numpy()
            found_ND[row : row + len(told_BD)] = told_BD
            row += len(told_BD)
    for part_ND in np.split(found_ND, np.cumsum(glimpse.parts)[:-1], axis=1):  # in place: of many pictures these are gigabytes
        part_ND -= part_ND.mean(0)
        part_ND /= max(1e-9, float(np.sqrt(np.einsum("nd,nd->", part_ND, part_ND, dtype=np.float64) / len(part_ND))))
    found_ND /= np.maximum(np.linalg.norm(found_ND, axis=1, keepdims=True), 1e-9)
    return found_ND


def features(table: Table, column: str, start: Pretrained, picture_size: int = 0) -> np.ndarray:
    """(N, D) float32, rows of length one: what the model's last layer reads of each picture, or on average of a film's clips."""
    module = find.model_module(start.model)
    kind = table.kinds[column]
    if tuple(module.FORMS) != ("pixels" if kind == "image" else "clips",) or kind not in start.learned:
        raise ConfigError("Exploring needs a model that looks at such data alone, {kind}; {source} is {model}.",
                          kind=tr(kind), source=start.source, model=start.model)  # fmt: skip
    encoder = InputEncoder(EncodeConfig(picture_size=picture_size))
    encoder.given = start.learned
    encoder.fit(table, [column])
    (name, encoded), = encoder.encode(table, kept=True).items()  # fmt: skip
    model = module.Model(build(module.Config, start.options, "model.options"), encoder.fields(), Head(2)).eval().to(offered())
    adapt.load(model, start)
    head = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    seen: list[Tensor] = []
    head.register_forward_pre_hook(lambda layer, given: seen.append(given[0].float().cpu()))
    with torch.inference_mode():
        for _, batch in batches(Examples({name: encoded}), encoder.fields(), BATCH):
            model(at_hand(model, batch))
            seen[-1] = seen[-1].view(len(batch[name]), -1, seen[-1].shape[-1]).mean(1)
    features_ND = torch.cat(seen).numpy()
    return features_ND / np.maximum(np.linalg.norm(features_ND, axis=1, keepdims=True), 1e-9)


def grouped(features_ND: np.ndarray) -> Grouping:
    """K-means with the number of groups that the silhouette likes best, a map, near pairs, odd rows; deterministic."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    count = len(features_ND)
    with np.errstate(invalid="ignore"):  # of pictures that are all the same no share of the variance can be told
        small = PCA(min(COMPONENTS, *features_ND.shape), random_state=SEED).fit_transform(features_ND)
    best: tuple[float, Any] = (-2.0, None)
    unlike = len(np.unique(small.round(6), axis=0))  # doubles make no group of their own
    for groups in range(2, min(MOST_GROUPS, count - 1, unlike) + 1):
        made = KMeans(groups, n_init=3, random_state=SEED).fit(small)
        if 1 < len(set(made.labels_)) < count:
            score = float(silhouette_score(small, made.labels_, sample_size=JUDGED if count > JUDGED else None, random_state=SEED))
            best = max(best, (score, made), key=lambda item: item[0])
    group_N = best[1].labels_ if best[1] is not None else np.zeros(count, np.int64)
    middle_ND = best[1].cluster_centers_[group_N] if best[1] is not None else small
    alike_NK, place_NK = nearest(features_ND, small)
    pairs = {(min(a, int(b)), max(a, int(b))): float(alike_NK[a, k])
             for a in range(count) for k, b in enumerate(place_NK[a]) if alike_NK[a, k] >= ALIKE}  # fmt: skip
    method = "t-SNE" if 30 <= count <= MAPPED else "PCA"
    flat = TSNE(2, init="pca", perplexity=min(30, count / 4), random_state=SEED).fit_transform(small) if method == "t-SNE" else small[:, :2]
    flat = flat if flat.shape[1] == 2 else np.concatenate([flat, np.zeros_like(flat)], 1)
    order = sorted(((score, int(a), int(b)) for (a, b), score in pairs.items()), reverse=True)
    return Grouping(
        group_N,
        np.linalg.norm(small - middle_ND, axis=1),
        best[0] if best[1] is not None else 0.0,
        flat,
        method,
        order,
        np.sqrt(np.maximum(0, 2 - 2 * alike_NK)).mean(1),
    )


def nearest(features_ND: np.ndarray, small_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) cosines of each row and the rows most like it, and these; sought among those that are nearest by their components."""
    from sklearn.neighbors import NearestNeighbors

    count = len(features_ND)
    near, some = min(NEIGHBOURS, count - 1), min(CANDIDATES, count - 1)
    place_NS = NearestNeighbors(n_neighbors=some + 1).fit(small_NC).kneighbors(small_NC, return_distance=False)
    alike_NK, place_NK = np.zeros((count, near), np.float32), np.zeros((count, near), np.int64)
    for start in range(0, count, BATCH):
        rows = slice(start, start + BATCH)
        alike_BS = np.einsum("bd,bsd->bs", features_ND[rows], features_ND[place_NS[rows]])
        alike_BS[place_NS[rows] == np.arange(count)[rows, None]] = -np.inf
        order_BK = np.argsort(-alike_BS, axis=1, kind="stable")[:, :near]
        alike_NK[rows], place_NK[rows] = (np.take_along_axis(each, order_BK, 1) for each in (alike_BS, place_NS[rows]))
    return alike_NK, place_NK


def _labels(table: Table, name: str) -> set[Any]:
    return set(table.column(name).to_pylist()) - {None}


def _facts(table: Table, image: str, column: str, found: Grouping, source: tuple[str, int]) -> dict[str, Any]:
    from sklearn.metrics import normalized_mutual_info_score

    names = [str(cell) if isinstance(cell, str) else str(row) for row, cell in enumerate(table.column(image).to_pylist())]
    labels = [str(cell) for cell in table.column(column).to_pylist()] if column else []
    rows: list[dict[str, Any]] = [
        {"file": names[row], "group": int(found.group_N[row]), "x": float(x), "y": float(y), "strange": float(found.strange_N[row])}
        | ({"label": labels[row]} if labels else {})
        for row, (x, y) in enumerate(found.place_N2)
    ]
    groups = []
    for group in range(int(found.group_N.max()) + 1):
        members = np.flatnonzero(found.group_N == group)
        nearest = members[np.argsort(found.distance_N[members], kind="stable")][:IN_A_ROW]
        about: dict[str, Any] = {"count": len(members), "nearest": nearest.tolist()}
        if labels:
            values, counts = np.unique([labels[row] for row in members], return_counts=True)
            about |= {"label": str(values[counts.argmax()]), "share": float(counts.max() / len(members))}
        groups.append(about)
    return {
        "source": source[0], "features": source[1], "silhouette": round(found.silhouette, 4), "method": found.method, "groups": groups,
        "label": column, "mutual_information": float(normalized_mutual_info_score(labels, found.group_N)) if labels else None,
        "near_duplicates": [{"similarity": score, "rows": [a, b]} for score, a, b in found.pairs],
        "odd": np.argsort(-found.strange_N, kind="stable")[:ODD].tolist(), "rows": rows,
    }  # fmt: skip


def _sources(table: Table, image: str, facts: Mapping[str, Any]) -> Mapping[int, str]:
    """data: URIs of the pictures that the page shows, by row."""
    count = len(table)
    wanted = set(np.linspace(0, count - 1, min(ON_THE_MAP, count)).astype(int).tolist()) | set(facts["odd"])
    wanted |= {row for pair in facts["near_duplicates"][:PAIRS] for row in pair["rows"]}
    wanted |= {row for group in facts["groups"] for row in group["nearest"]}
    cells = table.column(image)
    if table.kinds[image] == "video":
        strips = ((row, strip(cells[row].as_py(), table.root, 3, 64)) for row in sorted(wanted))
        return {row: uri for row, uri in strips if uri}
    bodies = {row: bytes_of(cells[row].as_py(), table.root) for row in sorted(wanted)}
    return {row: uri for row, uri in ((row, thumbnail(body, side=64)) for row, body in bodies.items() if body) if uri}

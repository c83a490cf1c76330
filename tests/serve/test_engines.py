"""Another engine may answer for a run: only after its answers were checked, and to the same bits alone and in company."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

import duomo
from duomo import prepared, samples
from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.core.device import Execution
from duomo.core.errors import RunError
from duomo.core.recipe import ModelConfig
from duomo.core.reporter import Silent
from duomo.data.loader import finish
from duomo.exchange import engines
from duomo.exchange.engines import Engine
from duomo.serve.batching import BatchHandler, Question, asked_of
from duomo.trained import Run


@pytest.fixture(scope="module")
def opinions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder over real texts of many lengths, and a line over their letters, which torch computes whatever the engine."""
    place = tmp_path_factory.mktemp("engines")
    texts = samples.write("pinglun", place)
    texts.write_text("".join(texts.read_text(encoding="utf-8").splitlines(keepends=True)[:600]), encoding="utf-8")
    settings = {"model": {"name": "bert", "size": "small"}, "train": {"steps": 3, "batch_size": 8, "exact": True, "evaluate_steps": 10**6}}
    return duomo.train(texts, settings, target="label", out=place / "opinions").path


def test_two_texts_of_unlike_length_stand_beside_a_large_category(tmp_path: Path) -> None:
    """Network, trees that are told what a line says, and the line itself, in ONNX Runtime."""
    if not engines.installed("onnxruntime"):
        pytest.skip("onnxruntime is not installed")
    lines = samples.write("reviews", tmp_path).read_text(encoding="utf-8").splitlines()
    frame = pd.read_csv(io.StringIO("\n".join(lines[:1300]))).rename(columns={"text": "long"})
    frame["short"], frame["shop"] = frame["long"].str[:12] + frame.index.astype(str), [f"shop {row % 230}" for row in range(len(frame))]
    settings = {"train": {"epochs": 1.0}, "data": {"kind": {"long": "text", "short": "text", "shop": "category"}}}
    run = duomo.train(frame, settings, target="label", out=tmp_path / "run", reporter=Silent())
    council = run.model.council
    council.put(share_3=torch.tensor([0.4, 0.3, 0.3]))
    assert len(council.said(finish(run.task.encode(run.table(frame[:4]), target=False).batch(torch.arange(4)), run.task.inputs))) == 3
    rows = run.task.encode(run.table(frame), target=False)
    batches = [finish(rows.batch(torch.arange(count)), run.task.inputs) for count in (8, 1, 50)]
    made, _ = engines.built(Engine("onnxruntime"), run.model.eval(), batches[:1], Execution())
    for batch in batches:
        torch.testing.assert_close(made(batch), run.model(batch).detach(), atol=1e-4, rtol=1e-4)


def test_the_fastest_that_agrees_answers_alone_and_in_company_alike(opinions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(prepared, "SECONDS", 0.05)
    real = prepared._milliseconds  # on a busy machine any of them may be the slower one
    faster = lambda predictor, table: real(predictor, table) * (0.01 if isinstance(predictor.model, engines.Advised) else 1)  # noqa: E731
    monkeypatch.setattr(prepared, "_milliseconds", faster)
    monkeypatch.setattr(prepared, "candidates", lambda _: [Engine(), Engine("openvino", "bf16", (1, 4, 16))])
    told = prepared.prepare(opinions, Silent())
    assert told["engine"] == "openvino bf16" and told["measured"][1]["distance"] <= prepared.TOLERANCE
    run = Run.open(opinions)
    assert isinstance(run.predictor.model, engines.Advised) and len(Run.open(opinions, engine=False).model.council.share_3)
    table, golden = run.golden()
    assert engines.distance(run.answers(table), golden) <= prepared.TOLERANCE
    together = run.answers(table)
    alone = [run.answers(table.take([row])) for row in range(len(table))]
    assert together == {name: [one[name][0] for one in alone] for name in together}
    rows, handler = table.data.select(["text"]).to_pylist(), BatchHandler(run)
    group = [(question, asked_of(handler, question)) for question in
             (Question(n, "predict", json.dumps({"rows": [row]}).encode()) for n, row in enumerate(rows))]  # fmt: skip
    served = [json.loads(reply.body)["answers"][0] for _, reply in handler.answer(group)]
    assert served == json.loads(json.dumps(run.predict(rows)))


def test_products_of_bytes_are_near_and_leave_rows_alone(opinions: Path) -> None:
    pytest.importorskip("openvino")
    run = Run.open(opinions, engine=False)
    table, golden = run.golden()
    made = run.predicting(Engine("openvino", "int8", (1, 4)))
    assert 0 < engines.distance(made.answers(table), golden) <= prepared.TOLERANCE
    batches = [batch for _, batch in run.predictor.blocks(run.task.encode(table, target=False))]
    assert engines.independent(made.model, run.model, batches[0], (1, 4, 16)) == (1, 4, 16)
    short = {name: value[:1] for name, value in engines.resized(batches[0], 16).items()}
    with pytest.raises(RunError, match="too short"):
        engines.built(Engine("openvino", "int8"), run.model, [short], run.execution)


def test_a_note_from_elsewhere_changes_nothing(opinions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other weights, another machine, an unknown engine, rubbish: torch answers in float32, as the run was judged."""
    place = tmp_path / "copy"
    shutil.copytree(opinions, place)
    run = Run.open(place, engine=False)
    engines.write(run.folder, Engine("torch", "bf16", (1,)), [])
    assert engines.read(run.folder) == Engine("torch", "bf16", (1,))
    good = json.loads((place / "engine.json").read_text())
    bad = [good | {"here": good["here"] | {"weights": "0"}}, good | {"here": good["here"] | {"cpu": "other"}}, [], {"engine": 3},
           good | {"engine": good["engine"] | {"name": "os"}}, good | {"engine": good["engine"] | {"heights": [0]}}]  # fmt: skip
    for told in bad:
        (place / "engine.json").write_text(json.dumps(told))
        assert engines.read(run.folder) is None
    run.folder.verify()
    for name, told in {"is_available": True, "device_count": 1, "get_device_name": "a GPU"}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, told=told: told)
    engines.write(run.folder, Engine("torch", "bf16", (1,)), [])
    assert engines.read(run.folder)
    monkeypatch.setenv("DUOMO_DEVICE", "cpu")  # what the GPU was measured to be good at is not asked of the CPU
    assert engines.read(run.folder) is None


def test_what_disagrees_or_cannot_be_converted_is_not_chosen(opinions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "SECONDS", 0.01)
    monkeypatch.setattr(prepared, "TOLERANCE", -1.0)
    assert prepared._measured(Run.open(opinions, engine=False), Engine("torch", "bf16", (1,)))["note"]

    class Pair(nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            return batch["x"], batch["x"]

    class Bessel(nn.Module):  # an operation that OpenVINO lacks
        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.special.bessel_j0(batch["x"])

    pytest.importorskip("openvino")
    for odd in (Pair(), Bessel()):
        with pytest.raises(RunError, match="cannot be computed"):
            engines.built(Engine("openvino", "bf16"), odd, [{"x": torch.zeros(2, 3)}], Run.open(opinions, engine=False).execution)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("model", "head"), [("detector", Head(3, "place")), ("embedder", Head(4, "vector"))])
def test_what_says_several_things_of_a_row_is_converted_too(model: str, head: Head, name: str) -> None:
    """Boxes and vectors: converted from one picture, asked for two; a detector's places have no rows."""
    if not engines.installed(name):
        pytest.skip(f"{name} is not installed")
    torch.manual_seed(0)
    fields = {"x": Field("pixels", (3, 64, 64), facts={"mean": [0.5] * 3, "std": [0.5] * 3})}
    choice = ModelConfig(name=model, size="small")
    module = find.model_module(model).Model(find.model_config(choice), fields, head).eval()
    batch = {"x": torch.rand(2, 3, 64, 64)}
    made, _ = engines.built(Engine(name), module, [{"x": batch["x"][:1]}], Execution())
    with torch.inference_mode():
        found, expected = made(batch), module(batch)
    assert type(found) is type(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_another_number_of_things_found_is_told_and_kept_out_of_the_note(opinions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "distance", lambda found, golden: float("inf"))
    told = prepared._measured(Run.open(opinions, engine=False), Engine("torch", "bf16", (1,)))
    assert told["note"] and json.dumps(told, allow_nan=False)


@pytest.mark.parametrize(
    ("off", "heights"),
    [
        (lambda rows: 1e-7 * (rows > 4), (1, 2, 4)),
        (lambda rows: 1e-7 * (rows == 1), (2, 4, 8, 16, 32)),
        (lambda rows: 9.0 * (rows > 2), (1, 2)),
        (lambda rows: 9.0, (1,)),
        (lambda rows: 0.0, (1, 2, 4, 8, 16, 32)),
    ],
)
def test_rows_keep_their_bits(off: Callable[[int], float], heights: tuple[int, ...]) -> None:
    """What changes in company stays in small blocks, what changes alone is computed in company of itself, what is wrong is not used."""

    class Leaning(nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return batch["x"] + off(len(batch["x"]))

    class Plain(nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return batch["x"]

    assert engines.independent(Leaning(), Plain(), {"x": torch.rand(3, 2) + 1}, (1, 2, 4, 8, 16, 32)) == heights


@pytest.mark.parametrize("sample", ["reviews", "clinic"])
def test_a_council_is_prepared_too(runs, tmp_path: Path, sample: str) -> None:
    """Letters and trees beside a network are in the graph with it; OpenVINO cannot compute `widetext`, and says so in a line."""
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    source = tmp_path / "some.csv"
    source.write_text("".join(runs.source(sample).read_text(encoding="utf-8").splitlines(keepends=True)[:400]), encoding="utf-8")
    settings = {"train": {"steps": 5, "batch_size": 32, "exact": True, "evaluate_steps": 10**6}}
    run = duomo.train(source, settings, out=tmp_path / "run")
    council = run.model.council
    assert len(council.forest.root_T) and all(len(letters.weight_PS) for _, letters in council.texts())
    table, golden = run.golden()
    rows = table.data.to_pylist()
    for name in ("onnxruntime", "openvino"):
        engine = Engine(name, "float32", (1, 2, 4, 8, 16, 32))
        if (sample, name) == ("reviews", "openvino"):
            told = prepared._measured(run, engine)
            assert told["note"] == "cannot compute this model" and "\n" not in told["reason"]
            continue
        made = run.predicting(engine)
        heights = prepared._proved(run, made, engine)
        assert len(heights) > 1 and engines.distance(made.answers(table), golden) < 1e-4
        made = prepared.Predictor(run.task, made.model, made.execution, made.block, heights)
        alone = [made.answers(table.take([row])) for row in range(len(rows))]
        assert made.answers(table) == {key: [one[key][0] for one in alone] for key in golden}


def test_what_a_sound_is_made_of_is_refused_in_a_line(opinions: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """torch's exporter prints the graph of what it cannot export, hundreds of lines."""
    pytest.importorskip("onnx")

    class Spectrum(nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.stft(batch["x"], 16, window=torch.ones(16), return_complex=True).abs().mean(2)

    with pytest.raises(RunError, match=r"cannot be computed by onnxruntime float32: .{1,200}$"):
        engines.built(Engine("onnxruntime", "float32"), Spectrum(), [{"x": torch.rand(2, 64)}], Run.open(opinions, engine=False).execution)
    assert "graph" not in "".join(capfd.readouterr())


def test_distances() -> None:
    assert engines.distance({"a": [1, 0.5], "b": ["x"]}, {"a": [1, 0.51], "b": ["x"]}) == pytest.approx(0.01)
    assert engines.distance([110.0], [100.0]) == pytest.approx(0.1)
    assert engines.distance(["x"], ["y"]) == engines.distance([1], [1, 2]) == engines.distance({"a": 1}, {"b": 1}) == float("inf")


def test_where_no_engine_agrees_the_run_is_left_as_it_is(opinions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "candidates", lambda _: [Engine()])
    monkeypatch.setattr(prepared, "TOLERANCE", -1.0)
    before = sorted(path.name for path in opinions.iterdir())
    with pytest.raises(RunError, match="none does: torch float32"):
        prepared.prepare(opinions, Silent())
    monkeypatch.setattr("os.access", lambda path, how: False)
    with pytest.raises(RunError, match="cannot be written"):  # told before it is measured
        prepared.prepare(opinions, Silent())
    assert before == sorted(path.name for path in opinions.iterdir())

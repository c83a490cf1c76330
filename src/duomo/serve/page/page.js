"use strict";
// Everything that comes from the run or the model enters the page as text, never as markup.
const words = navigator.language.toLowerCase().startsWith("zh")
  ? { run: "运行", ask: "回答", working: "计算中…", failed: "服务器没有回答。", confidence: "置信度",
      empty: "请至少填写一项。", closed: "此令牌不可用于这里的任何运行。", none: "无", numbers: "# 个数", number: "不是数值：", series: "不是 JSON 数值列表：",
      chat: "对话", classify: "分类", detect: "检测", embed: "文本向量", fill: "填空", generate: "生成文本", identify: "认人", regress: "回归",
      summarize: "摘要", tag: "标注", transcribe: "语音转写", translate: "翻译" }
  : { run: "run", ask: "Answer", working: "Working …", failed: "The server did not answer.", confidence: "confidence",
      empty: "Fill in at least one field.", closed: "This token is for none of the runs here.", none: "none", numbers: "# numbers", number: "Not a number: ", series: "Not a JSON list of numbers: " };
const $ = (id) => document.getElementById(id);
const make = (tag, text, name) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (name) node.className = name;
  return node;
};
const isNumber = (text) => /\p{Nd}/u.test(text) && !/\p{L}{4}/u.test(text) && Math.abs(Number(text)) !== Infinity;
class Unfit extends Error {}
let columns = {};
let task = "";
let served = "";

const renderers = {
  text: () => make("textarea"),
  number: () => Object.assign(make("input"), { inputMode: "decimal" }),
  series: () => Object.assign(make("textarea"), { placeholder: "[[0.1, 0.2], …]" }),
  image: () => Object.assign(make("input"), { type: "file", accept: "image/*" }),
  audio: () => Object.assign(make("input"), { type: "file", accept: "audio/*" }),
  video: () => Object.assign(make("input"), { type: "file", accept: "video/*,image/gif,.mkv" }),
};

function field(name, kind) {
  const label = make("label", name, ["text", "image", "audio", "video", "series"].includes(kind) ? "wide" : "");
  const input = (renderers[kind] || (() => make("input")))();
  input.dataset.name = name;
  label.append(input);
  if (["image", "audio", "video"].includes(kind)) {
    input.addEventListener("change", () => {
      label.querySelectorAll("img, audio, video").forEach((old) => old.remove());
      if (!input.files[0]) return;
      const still = kind === "image" || input.files[0].type === "image/gif";
      const shown = still ? make("img", undefined, "preview") : Object.assign(make(kind, undefined, kind === "video" ? "preview" : ""), { controls: true });
      shown.src = URL.createObjectURL(input.files[0]);
      if (still) {
        shown.alt = input.files[0].name;
        shown.addEventListener("load", () => shown.classList.toggle("tiny", shown.naturalWidth < 96));
        shown.addEventListener("error", () => shown.remove());
      }
      label.append(shown);
    });
  }
  return label;
}

function list(name, text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Unfit(words.series + name);
  }
}

function row() {
  const found = {};
  for (const input of document.querySelectorAll("[data-name]")) {
    const name = input.dataset.name;
    if (input.type === "file") found[name] = input.files[0] ?? null;
    else if (columns[name] === "series") found[name] = input.value.trim() ? list(name, input.value) : null;
    else if (columns[name] === "number" && input.value.trim() && !isNumber(input.value)) throw new Unfit(words.number + name);
    else found[name] = input.value === "" ? null : input.value;
  }
  // A model that continues text may start from nothing; for all others an empty form is a slip.
  if (task !== "generate" && Object.values(found).every((value) => value === null)) throw new Unfit(words.empty);
  return found;
}

// JSON, or an upload where there are files: its texts go as files too, since a form would change their line ends.
function asked(found) {
  if (!Object.values(found).some((value) => value instanceof File)) return { headers: { "Content-Type": "application/json" }, body: JSON.stringify({ rows: [found] }) };
  const body = new FormData();
  for (const [name, value] of Object.entries(found)) {
    if (value === null || value instanceof File) body.append(name, value ?? "");
    else body.append(name, new Blob([typeof value === "string" ? value : JSON.stringify(value)]));
  }
  return { body };
}

function bar(name, share) {
  const line = make("div", undefined, "bar");
  const meter = Object.assign(make("meter"), { min: 0, max: 1, value: share });
  meter.setAttribute("aria-label", name);
  line.title = name;
  line.append(make("span", name), meter, make("span", share.toFixed(4)));
  return line;
}

// Things with a label (boxes, spans) in words, vectors by their length, all else as it is.
function tell(value) {
  if (Array.isArray(value)) {
    if (value.length > 16 && value.every((one) => typeof one === "number")) return words.numbers.replace("#", value.length);
    return value.slice(0, 20).map(tell).join(", ") + (value.length > 20 ? ", …" : "") || words.none;
  }
  if (value === null || typeof value !== "object") return String(value ?? "—");
  if (!("label" in value)) return JSON.stringify(value);
  return "text" in value ? `${value.text} (${value.label})` : `${value.label}${typeof value.confidence === "number" ? ` ${value.confidence.toFixed(2)}` : ""}`;
}

// The picture that was asked about with a box around each thing; nothing where this browser does not show it.
function boxed(things) {
  const pictures = document.querySelectorAll("img.preview");
  if (pictures.length !== 1 || !Array.isArray(things) || !things.length || !things.every((one) => Array.isArray(one?.box))) return [];
  const drawn = (name, facts) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(facts)) node.setAttribute(key, value);
    return node;
  };
  const [wide, high, labels] = [pictures[0].naturalWidth, pictures[0].naturalHeight, [...new Set(things.map((one) => one.label))]];
  const place = make("div", undefined, "boxes"), sheet = drawn("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": tell(things) });
  const size = Math.max(wide, high) / 32;
  for (const one of things.slice(0, 100)) {
    const [left, top, right, bottom] = one.box, colour = `b${labels.indexOf(one.label) % 5}`;
    const name = drawn("text", { x: left + size / 5, y: top >= size ? top - size / 5 : top + size, "font-size": size, class: colour });
    name.textContent = one.label;
    sheet.append(drawn("rect", { x: left, y: top, width: right - left, height: bottom - top, class: colour }), name);
  }
  const picture = Object.assign(make("img"), { src: pictures[0].src, alt: pictures[0].alt });
  place.append(picture, sheet);
  return [place];
}

function show(answer) {
  const place = $("answer");
  place.hidden = false;
  place.replaceChildren();
  const told = answer.prediction;
  place.append(make("p", tell(told), "prediction"), ...boxed(told));
  if (answer.probabilities) {
    for (const [name, share] of Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1])) place.append(bar(name, share));
  } else if (typeof answer.confidence === "number") place.append(bar(words.confidence, answer.confidence));
  const rest = Object.entries(answer).filter(([name]) => !["prediction", "confidence", "probabilities", "words"].includes(name));
  for (const [name, value] of rest) place.append(make("p", `${name}: ${tell(value)}`, "facts"));
  place.scrollIntoView({ block: "nearest" });
}

function complain(message) {
  $("answer").hidden = false;
  $("answer").replaceChildren(make("p", message, "error"));
  $("answer").scrollIntoView({ block: "nearest" });
}

$("ask").textContent = words.ask;
$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("ask").disabled = true;
  $("ask").textContent = words.working;
  try {
    const answer = await fetch(`/v1/predict/${encodeURIComponent(served)}`, { method: "POST", ...asked(row()) });
    const found = await answer.json();
    if (answer.ok) show(found.answers[0]);
    else complain(found.error.message);
  } catch (error) {
    complain(error instanceof Unfit ? error.message : words.failed);
  } finally {
    $("ask").disabled = false;
    $("ask").textContent = words.ask;
  }
});
function choose(run) {
  document.title = run.run;
  $("task").textContent = words[run.task] || run.task;
  [served, task, columns] = [run.run, run.task, run.columns];
  $("answer").hidden = true;
  $("fields").replaceChildren(...Object.entries(columns).map(([column, kind]) => field(column, kind)));
}

fetch("/v1/runs").then((answer) => answer.json()).then(({ runs }) => {
  if (!runs.length) {
    $("ask").disabled = true;
    complain(words.closed);
    return;
  }
  if (runs.length === 1) $("run").textContent = runs[0].run;
  else {
    const list = make("select");
    list.setAttribute("aria-label", words.run);
    list.append(...runs.map((run, number) => Object.assign(make("option", run.run), { value: number })));
    list.addEventListener("change", () => choose(runs[list.value]));
    $("run").replaceChildren(list);
  }
  choose(runs[0]);
}).catch(() => complain(words.failed));

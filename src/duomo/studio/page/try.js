// Room 4: ask a finished run. How to ask and how an answer looks is each task's own (tasks/<name>/page.js), with a default for the rest.
import { button, duration, el, empty, get, go, head, number, post, run, shownCell, t, told, waiting } from "./base.js";
import { any, blobOf, row, shownPicture } from "./fields.js";
import { bar } from "./plot.js";

const DEFAULT = { input: row, answer: any };
export async function renderers(task, pages) {
  return pages.includes(task) ? { ...DEFAULT, ...(await import(`../tasks/${task}.js`)) } : DEFAULT;
}

export async function tryIt(place, [name]) {
  const { runs } = await get("api/runs"), done = runs.filter((found) => found.state === "finished");
  const chosen = name ?? done[0]?.name;
  place.append(head(t("Try it"), t("Ask the model. Nothing leaves this machine.")));
  if (!chosen) { place.append(empty(t("No model is ready yet"), t("Train one first; then it can be asked here."), go("train", t("Train a model")))); return; }
  const select = el("select", { onchange: () => { location.hash = `try/${encodeURIComponent(select.value)}`; } }, done.map((found) => el("option", { value: found.name, selected: found.name === chosen }, found.name)));
  const box = el("div"), loading = waiting(t("Opening the model …"));
  place.append(el("section.card.lead", {}, el("label.inline", {}, el("span", {}, t("Run")), select), box, loading));
  const [{ pages }, described] = await Promise.all([get("api/start"), get(run(chosen, "/try"))]);
  const { input, answer } = await renderers(described.task, pages);
  loading.remove();
  ask(box, chosen, described, input, answer);
}
function ask(box, name, described, input, answer) {
  let example = 0, asked = input(described);
  const place = el("div", {}, asked.node), out = el("div.answer", { "aria-live": "polite" });
  const submit = button(t("Ask"), async () => {
    const row = await asked.read();
    told(shell(name, row));
    out.replaceChildren(waiting(t("The model is at work …")));
    try {
      const found = await post(run(name, "/predict"), { row });
      const shown = answer(found.answer, row, described);
      asked.answered?.(found.answer, shown);
      out.replaceChildren(asked.answered ? "" : shown, el("p.soft", {}, t("Answered in {time}.", { time: duration(found.seconds) })), ...(found.strange ?? []).map((sentence) => el("p.doubt", {}, sentence)), neighbours(found.neighbours), explanation(found.explanation, row, described.task));
      out.firstElementChild.scrollIntoView({ block: "nearest" }); // on a phone it would be out of sight
    } catch (error) { out.replaceChildren(); throw error; }
  });
  const next = described.examples.length > 0 && button(t("Fill in an example"), async () => {
    asked = input(described, described.examples[example++ % described.examples.length]);
    place.replaceChildren(asked.node);
    out.replaceChildren();
  }, ".plain");
  box.append(el("p.soft", {}, described.target.length ? t("{task}: answers with {target}.", { task: t(described.task), target: described.target.join(", ") }) : t(described.task)), place, el("p.next", {}, submit, next), out);
  place.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey || event.target.tagName === "INPUT" || (event.target.matches(".send") && !event.shiftKey && !event.isComposing))) { event.preventDefault(); submit.click(); } });
}
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
function shell(name, row) {
  const files = Object.values(row).some((value) => value?.base64), texts = Object.values(row).filter((value) => value !== null);
  const run = /^[\w.-]+$/.test(name) ? `runs/${name}` : quoted(`runs/${name}`);
  if (files) return `duomo predict ${run} ${t("FILE_OR_FOLDER")}`;
  return Object.keys(row).length === 1 && typeof texts[0] === "string" ? `duomo predict ${run} --text ${quoted(texts[0])}` : `duomo predict ${run} --row ${quoted(JSON.stringify(row))}`;
}
// What stands beside an answer, where the server has it (studio/trying.py, BESIDE).
const seen = (cell) => cell.source || cell.line?.length;
function neighbours(found) {
  if (!found?.length) return "";
  const title = t("Most similar training rows"), cells = found[0].cells;
  const table = () => el("div.scroll", { tabindex: 0, role: "region", "aria-label": title }, el("table", {}, el("thead", {}, el("tr", {}, cells.map((cell) => el("th", { scope: "col" }, cell.name)))), el("tbody", {}, found.map((one) => el("tr", {}, one.cells.map((cell) => el("td", {}, cell.text)))))));
  const gallery = () => el("ul.gallery", {}, found.map((one) => el("li", {}, one.cells.map((cell) => (seen(cell) || cells.length === 1 ? shownCell(cell) : el("p", {}, el("span.soft", {}, `${cell.name} `), cell.text))))));
  return el("section", {}, el("h3", {}, title), cells.length > 1 && !found.some((one) => one.cells.some(seen)) ? table() : gallery());
}
function explanation(found, row, task) {
  if (!found?.sentence) return "";
  const file = found.grid && Object.values(row).find((cell) => cell?.base64), parts = found.parts ?? [];
  const words = el("p.soft", {}, !parts.length ? found.sentence : task === "classify" ? t("By how many points the answer's probability falls without it; where it rises, the part speaks against the answer.") : t("By how much it makes the number larger (+) or smaller (−): the difference when it is left out."));
  if (file && parts.length) return el("section", {}, el("h3", {}, t("Why")), heat(found.grid, file), el("p.soft", {}, t("Green: where the answer rests, its probability falls without it. Red: what speaks against it.")));
  const scale = task === "classify" ? 100 : 1, top = Math.max(...parts.map((one) => Math.abs(one.change)), 1e-12);
  return el("section", {}, el("h3", {}, t("Why")), parts.length ? el("ul.bars", { "aria-label": t("Why") }, parts.map((one) => el("li", {}, el("span.name", { title: one.part }, one.part), el("span.track", {}, bar(Math.abs(one.change) / top, one.change < 0 ? ".against" : "")),
    el("span.value", {}, `${one.change < 0 ? "−" : "+"}${number(Math.abs(one.change) * scale, 2)}`)))) : "", words);
}
// The picture, and over each field how much the answer leans on it.
function heat(changes, file) {
  const side = Math.sqrt(changes.length), top = Math.max(...changes.map(Math.abs), 1e-12);
  return el("div.heat", {}, shownPicture(blobOf(file), ""), el("svg", { viewBox: `0 0 ${side} ${side}`, preserveAspectRatio: "none", "aria-hidden": "true" }, changes.map((change, place) =>
    el(`rect.${change < 0 ? "against" : "for"}`, { x: place % side, y: Math.floor(place / side), width: 1, height: 1, opacity: (0.65 * Math.abs(change)) / top }))));
}

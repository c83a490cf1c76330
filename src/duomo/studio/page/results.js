// Room 3: scorecards side by side, two runs compared, the rows that went most wrong.
import { MEANS, between, button, count, duration, el, empty, figure, get, go, head, metric, number, post, run, shownCell, size, t, told } from "./base.js";
import { view, whisker } from "./plot.js";

export async function results(place, [name]) {
  if (name) return one(place, name);
  const { runs } = await get("api/runs"), done = runs.filter((found) => found.state === "finished" && found.figure);
  place.append(head(t("Results"), t("Tested on rows that neither training nor model choice has seen, beside simple models.")));
  if (!done.length) { place.append(empty(t("No run is finished yet"), t("Results appear here as soon as a model is trained and tested."), go("train", t("Train a model")))); return; }
  told("duomo list runs");
  const groups = Map.groupBy ? Map.groupBy(done, (found) => `${found.task} ${found.digest}`) : new Map(done.map((found) => [found.name, [found]]));
  const picked = new Set(), say = el("div");
  const compare = button(t("Compare the two"), async () => { const [a, b] = [...picked]; say.replaceChildren(); const found = await post("api/compare", { a, b }); say.replaceChildren(compared(found)); }, ".plain");
  const settle = () => { compare.disabled = picked.size !== 2; };
  settle();
  place.append(el("p.row", {}, compare, el("span.soft", {}, t("Choose two runs with the same test."))), say, ...[...groups.values()].map((group) => table(group, picked, settle)));
}
function table(group, picked, settle) {
  const all = group.flatMap((found) => [found.figure.low ?? found.figure.value, found.figure.high ?? found.figure.value]), low = Math.min(...all), high = Math.max(...all);
  const better = group[0].higher_is_better ? 1 : -1, order = [...group].sort((a, b) => better * (b.figure.value - a.figure.value));
  return el("section.card", {}, el("h2", {}, t(group[0].task), el("span.soft", {}, ` ${[metric(group[0].metric), group[0].source.split("/").at(-1)].filter(Boolean).join(" · ")}`)), el("div.scroll", { tabindex: 0, role: "region", "aria-label": t("Results") }, el("table", {}, el("thead", {}, el("tr", {}, ["", t("run"), t("model"), metric(group[0].metric), t("95 % interval"), "", t("against simple models"), t("took")].map((label) => el(label ? "th" : "td", label ? { scope: "col" } : {}, label)))),
    el("tbody", {}, order.map((found) => {
      const box = el("input", { type: "checkbox", "aria-label": t("Compare {name}", { name: found.name }), onchange: () => { if (box.checked) picked.add(found.name); else picked.delete(found.name); settle(); } });
      return el("tr", {}, el("td", {}, box), el("td", {}, go(`results/${encodeURIComponent(found.name)}`, found.name, "")), el("td", {}, found.model), el("td.figure", {}, figure(found.figure)), el("td.soft", {}, between(found.figure)), el("td.wide", {}, whisker(found.figure, low, high)), el("td", {}, el(`span.tag.${TONES[found.outcome]}`, {}, t(found.outcome))), el("td.soft", {}, duration(found.seconds)));
    })))));
}
const TONES = { won: "good", lost: "bad", unclear: "doubt", alone: "soft" };
function compared(found) {
  const names = Object.keys(found.metrics);
  return el("section.card.lead", { "aria-live": "polite" }, el("h2", {}, t("{b} against {a}", found)), el("p", {}, found.sentence), el("div.scroll", { tabindex: 0, role: "region", "aria-label": t("Difference") }, el("table", {}, el("thead", {}, el("tr", {}, [t("metric"), found.a, found.b, t("difference"), t("95 % interval"), ""].map((label) => el(label ? "th" : "td", label ? { scope: "col" } : {}, label)))),
    el("tbody", {}, names.map((name) => { const { a, b, difference } = found.metrics[name], reach = Math.max(Math.abs(difference.low ?? 0), Math.abs(difference.high ?? 0), Math.abs(difference.value), 1e-9);
      return el("tr", {}, el("th", { scope: "row" }, metric(name)), el("td", {}, figure(a)), el("td", {}, figure(b)), el("td.figure", {}, number(difference.value, 3)), el("td.soft", {}, between(difference)), el("td.wide", {}, whisker(difference, -reach, reach))); })))));
}

async function one(place, name) {
  const card = await get(run(name, "/card"));
  told(card.command);
  const verdict = card.verdict, main = card.metric.name, best = card.results[0];
  const sentence = { won: "It beats the simple model {baseline}.", lost: "The simple model {baseline} is better: take that one.", unclear: "It cannot be told apart from the simple model {baseline}.", alone: "There is no simple model to compare it with." }[verdict.outcome] ?? "";
  place.append(head(name, t("{task}: {rows} rows in the test", { task: t(card.task), rows: count(card.test.rows) })),
    el("section.card.lead", {}, el("p.prediction", {}, `${metric(main)} ${figure(best.metrics[main])}`, el("span.soft", {}, ` ${between(best.metrics[main])}`)), el("p.soft", {}, [MEANS[main] && t(MEANS[main]), typeof best.metrics[main].low === "number" && t("Another test of the same size would give another figure: with 95 % certainty the true one lies between {low} and {high}.", { low: number(best.metrics[main].low, 3), high: number(best.metrics[main].high, 3) })].filter(Boolean).join(" ")), el("p", {}, el(`span.tag.${TONES[verdict.outcome]}`, {}, t(verdict.outcome)), " ", t(sentence, { baseline: t(verdict.baseline ?? "") })), verdict.note && el("p.soft", {}, verdict.note),
      el("p.next", {}, go(`try/${encodeURIComponent(name)}`, t("Try it")), el("a.button.plain", { href: run(name, "/scorecard.html"), target: "_blank", rel: "noopener" }, t("The whole scorecard")), el("a.button.plain", { href: run(name, "/export"), download: `${name}.zip` }, t("Export")))),
    beside(card), el("div.pictures", {}, card.views.map(view)), slices(card), worst(card), facts(card));
}
function beside(card) {
  const names = Object.keys(card.results[0].metrics), known = names.filter((name) => MEANS[name]);
  const meanings = known.length > 0 && el("details", {}, el("summary", {}, t("What the figures mean")), el("dl.cells", {}, known.map((name) => [el("dt", {}, metric(name)), el("dd", {}, t(MEANS[name]))])));
  return el("section.card", {}, el("h2", {}, t("Beside simple models")), el("div.scroll", { tabindex: 0, role: "region", "aria-label": t("Beside simple models") }, el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, t("metric")), card.results.map((found) => el("th", { scope: "col" }, t(found.name))))),
    el("tbody", {}, names.map((name) => el("tr", {}, el("th", { scope: "row" }, metric(name)), card.results.map((found) => el("td", {}, el("span.figure", {}, figure(found.metrics[name])), el("br"), el("span.soft", {}, between(found.metrics[name]))))))))), meanings);
}
function slices(card) {
  const found = card.slices?.worst ?? [];
  if (!found.length) return "";
  return el("section.card", {}, el("h2", {}, t("Weak spots")), el("p.soft", {}, card.slices.note), el("ul.lines", {}, found.slice(0, 6).map((slice) => el("li", {}, el("span", {}, slice.label ?? `${slice.column} ${slice.value ?? ""}`, slice.stands_out && el("span.tag.bad", {}, t("stands out"))), el("span.soft", {}, t("{times} times the error elsewhere; {rows} rows", { times: number(Math.min(999, slice.error / Math.max(slice.rest, 1e-12)), 2), rows: count(slice.rows) }))))));
}
const TOLD = ["prediction", "confidence", "low", "high", "similarity", "nearest"];
function worst(card) {
  const { items, note } = card.errors;
  return el("section.card", {}, el("h2", {}, t("What it gets most wrong")), note && el("p.soft", {}, note), el("ul.errors", {}, items.map((item) => {
    const seen = item.cells.filter((cell) => cell.source || cell.line), rest = item.cells.filter((cell) => !cell.source && !cell.line);
    const pairs = (values) => Object.entries(values).filter(([key]) => TOLD.includes(key) || !("prediction" in values)).map(([key, value]) => (["prediction"].includes(key) ? value : `${t(key)} ${value}`)).join(" · ");
    const truth = Object.values(item.truth).join(" · ");
    return el("li", {}, seen.map(shownCell), truth && el("p", {}, el("span.soft", {}, `${t("truth")} `), truth), el("p", {}, el("span.soft", {}, `${t("answer")} `), pairs(item.answer) || "—", truth && truth === String(item.answer.prediction) && el("span.tag.good", {}, t("answered correctly"))),
      rest.length > 0 && el("details", { open: rest.length === 1 && !seen.length }, el("summary", {}, t("Test row {row}", { row: item.row })), el("dl.cells", {}, rest.map((cell) => [el("dt", {}, cell.name), el("dd", {}, cell.text)]))));
  })));
}
function facts(card) {
  const found = card.facts, shown = [[t("model"), `${found.model ?? ""} ${found.size ?? ""}`], [t("parameters"), count(found.parameters ?? 0)], [t("rows"), found.split], [t("took"), duration(found.seconds?.everything)], [t("seed"), found.seed]];
  const told = (name, value) => (name === "seconds" ? duration(value) : size(value));
  const predicted = Object.entries(found.preflight ?? {}).map(([name, value]) => [t({ seconds: "training", memory_bytes: "memory", disk_bytes: "disk" }[name] ?? name), t("{came} (predicted: {foretold})", { came: told(name, value.actual), foretold: told(name, value.predicted) })]);
  return el("section.card", {}, el("h2", {}, t("Provenance")), el("dl.cells", {}, [...shown, ...predicted].map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value ?? "—"))])));
}


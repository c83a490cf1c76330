// What every room uses: elements, words, calls, notices, the command line of what was just done.
// Everything from data, runs and models enters the page as text: nothing here or elsewhere makes markup from a string.
import { chinese } from "./words.js";

// What was chosen stays so in its tab, whatever others do; a new one begins with what was chosen last.
export const kept = (name, otherwise) => { try { return sessionStorage.getItem(name) ?? localStorage.getItem(name) ?? otherwise; } catch { return otherwise; } };
export const keep = (name, value) => { try { sessionStorage.setItem(name, value); localStorage.setItem(name, value); } catch { /* a private window forgets */ } };
export const settings = {
  language: kept("duomo.language", navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en"),
  theme: kept("duomo.theme", "auto"),
};

const learned = {};
export const learn = (words) => Object.assign(learned, words);
// The English sentence is the key; {name} is filled in.
export const t = (sentence, values = {}) =>
  (settings.language === "zh" ? chinese[sentence] ?? learned[sentence] ?? sentence : sentence).replace(/{(\w+)}/g, (all, name) => values[name] ?? all);

const SVG = ["svg", "path", "line", "circle", "rect", "g", "polyline", "title"];
export function el(tag, facts = {}, ...inside) {
  const [name, ...classes] = tag.split(".");
  const node = SVG.includes(name) && facts.svg !== false ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(facts)) {
    if (value === undefined || value === null || value === false || key === "svg") continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (["value", "checked", "disabled", "selected", "srcObject", "indeterminate"].includes(key)) node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...inside.flat(9).filter((part) => part !== null && part !== undefined && part !== false && part !== ""));
  return node;
}

export class Refused extends Error {}
export async function call(method, path, body, facts = {}) {
  const where = location.hash;
  let answer;
  try {
    const json = body !== undefined && !(body instanceof Blob);
    const headers = { "Accept-Language": settings.language, ...(json ? { "Content-Type": "application/json" } : {}) };
    answer = await fetch(path, { method, headers, body: json ? JSON.stringify(body) : body, ...facts });
  } catch {
    throw new Refused(t("The studio does not answer. Is `duomo studio` still running in its terminal?"));
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Refused(found.error?.message ?? t("The studio could not do this ({status}).", { status: answer.status })), { status: answer.status, encodings: found.error?.encodings, choices: found.error?.choices, parts: found.error?.parts });
  if (found.command && method !== "GET" && where === location.hash) told(found.command); // who has left the room meanwhile is told of the next
  return found;
}
export const get = (path) => call("GET", path);
export const post = (path, body = {}) => call("POST", path, body);
export const run = (name, rest = "") => `api/runs/${encodeURIComponent(name)}${rest}`;

// A notice says what happened, for a while; `undo` gives it a button.
export function notice(sentence, tone = "info", undo = null) {
  const close = () => box.remove();
  const box = el(`div.notice.${tone}`, {}, el("p", {}, sentence),
    undo && el("button.plain", { type: "button", onclick: () => { close(); undo(); } }, t("Undo")),
    el("button.plain.close", { type: "button", "aria-label": t("Close"), onclick: close }, "×"));
  const place = document.getElementById("notices");
  if (tone === "good") calm(); // it went well after all
  if (!undo && [...place.children].some((old) => old.firstChild.textContent === sentence)) return; // what is asked again and again is said once
  while (place.childElementCount > 2) place.firstChild.remove();
  place.append(box);
  setTimeout(close, undo ? 20000 : tone === "error" ? 15000 : 6000);
}
export const calm = () => document.querySelectorAll("#notices .error").forEach((old) => old.remove());
export const complain = (error) => { notice(error instanceof Refused ? error.message : String(error), "error"); if (!(error instanceof Refused)) throw error; };

// A button that is busy while its work is done, and says so when the work fails.
export function button(label, work, look = "") {
  const node = el(`button${look}`, { type: "button" }, label);
  node.addEventListener("click", async () => {
    calm(); // a new attempt
    node.disabled = true;
    node.setAttribute("aria-busy", "true");
    try { await work(node); } catch (error) { complain(error); } finally { node.disabled = false; node.removeAttribute("aria-busy"); }
  });
  return node;
}

let last = "";
export function told(command) {
  if (command || command === null) last = command ?? "";
  const place = document.getElementById("command");
  place.hidden = !last;
  place.replaceChildren(el("span.soft", {}, t("The same in a terminal:")), el("code", { tabindex: 0, "aria-label": t("Command") }, last),
    /^(duomo|mv) /.test(last) && el("button.plain", { type: "button", onclick: () => navigator.clipboard.writeText(last).then(() => notice(t("Copied."))) }, t("Copy")) || "");
}

export const number = (value, digits = 4) => (typeof value !== "number" ? "—" : Number(value.toPrecision(digits)).toLocaleString(settings.language, { maximumFractionDigits: 6, useGrouping: "min2" }));
export const count = (value) => Number(value).toLocaleString(settings.language);
// Short names in their usual letters; what a run calls its metrics otherwise is words.
const METRICS = { auc: "AUC", mae: "MAE", rmse: "RMSE", mse: "MSE", r2: "R²", f1: "F1", macro_f1: "macro F1", ece: "ECE", cer: "CER", wer: "WER", bleu: "BLEU", chrf: "chrF", mrr: "MRR", map: "mAP", map50: "mAP at 0.50", map_small: "mAP, small", map_medium: "mAP, medium", map_large: "mAP, large",
  rouge_1: "ROUGE-1", rouge_2: "ROUGE-2", rouge_l: "ROUGE-L", d_prime: "d′", tpr_1: "TPR at 1 %", tpr_01: "TPR at 0.1 %" };
export function metric(name) {
  const words = name.replaceAll("_", " "), said = t(words);
  return said === words ? METRICS[name] ?? words : said;
}
// What a figure says, to who meets it for the first time.
export const MEANS = {
  accuracy: "Share of the answers that are right.",
  macro_f1: "How well each class is found without false alarms; every class counts alike. 1 is best.",
  micro_f1: "How well the labels are found without false alarms, all taken together. 1 is best.",
  auc: "How often a row of the class scores higher than one that is not of it. 0.5 is guessing, 1 is best.",
  log_loss: "How far the probabilities lie from the truth; being sure and wrong costs most. 0 is best.",
  ece: "How far the confidence lies from the share that is right. 0 is best.",
  top_5: "Share of the rows whose true class is among the five likeliest.",
  rmse: "Typical distance from the true number, in its own unit; large misses weigh more. 0 is best.",
  mae: "Mean distance from the true number, in its own unit. 0 is best.",
  r2: "Share of the differences between rows that is explained. 1 is best; 0 is no better than always answering the mean.",
  cer: "Wrong, missing and added letters for each true letter. 0 is best.",
  wer: "Wrong, missing and added words for each true word. 0 is best.",
  perplexity: "Among how many equally likely pieces of text the model hesitates at each step. 1 is best.",
  bits_per_byte: "How much of the text comes as a surprise. 0 is best.",
  token_accuracy: "Share of the pieces of text that would be foretold exactly.",
  map: "How many things are found at their place, with few false alarms. 1 is best.",
  mrr: "How high the right one stands among all others: 1 where it always comes first.",
  chrf: "How much of the true wording is met. 100 is best.",
  bleu: "How much of the true wording is met. 100 is best.",
  rouge_l: "How much of the true wording is met, in its order. 1 is best.",
};
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "—";
  if (seconds < 1) return t("{count} ms", { count: Math.max(1, Math.round(seconds * 1000)) });
  if (seconds < 90) return t("{count} s", { count: seconds < 10 ? seconds.toFixed(1) : Math.round(seconds) });
  return seconds < 5400 ? t("{count} min", { count: (seconds / 60).toFixed(1) }) : t("{count} h", { count: (seconds / 3600).toFixed(1) });
}
export const size = (bytes) => (bytes < 1e6 ? `${bytes && Math.max(1, Math.round(bytes / 1e3))} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
export const when = (seconds) => new Date(seconds * 1000).toLocaleString(settings.language, { dateStyle: "medium", timeStyle: "short" });
export const figure = (found) => (found ? number(found.value, 3) : "—");
export const between = (found) => (found && typeof found.low === "number" ? t("{low} to {high}", { low: number(found.low, 3), high: number(found.high, 3) }) : "");

export const head = (title, lead) => el("div.head", {}, el("h1", {}, title), lead && el("p.lead", {}, lead));
export const empty = (title, words, ...next) => el("div.empty", {}, el("h2", {}, title), el("p", {}, words), next.length && el("p.next", {}, next));
export const go = (where, label, look = ".button") => el(`a${look}`, { href: `#${where}` }, label);
export const state = (name) => el(`span.state.${name}`, {}, t(name));
// What stands in a room that cannot be shown; a mistake of the page itself goes on to the console.
export const unshown = (place, error) => { place.replaceChildren(empty(t("This cannot be shown"), error.message, go("runs", t("Runs")))); if (!(error instanceof Refused)) throw error; };
export const waiting = (words) => el("p.waiting", { role: "status" }, el("span.spin", { "aria-hidden": "true" }), words);

// What a row is shown as: text, a picture, a player, a line.
export function shownCell(cell) {
  if (cell.kind === "image" && cell.source) return el("img.thumb", { src: cell.source, alt: cell.text, title: cell.text, loading: "lazy", onload: (event) => event.target.classList.toggle("tiny", event.target.naturalWidth < 96) });
  if (cell.kind === "video" && cell.source) return el("img.strip", { src: cell.source, alt: cell.text, title: cell.text, loading: "lazy" });
  if (cell.kind === "audio" && cell.source) return el("audio", { src: cell.source, controls: true, preload: "none", "aria-label": cell.text });
  if (cell.line?.length) return spark(cell.line, cell.name);
  return el("span", {}, cell.text);
}
export function spark(values, label) {
  const low = Math.min(...values), high = Math.max(...values), span = high - low || 1;
  const points = values.map((value, place) => `${((place / Math.max(1, values.length - 1)) * 118 + 1).toFixed(1)},${(27 - ((value - low) / span) * 24).toFixed(1)}`);
  return el("svg.spark", { viewBox: "0 0 120 30", role: "img", "aria-label": label }, el("polyline", { points: points.join(" ") }));
}

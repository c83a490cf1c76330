// Room 1: drop or choose, see what is in it and what is wrong, settle kinds and target.
import { button, call, complain, count, el, empty, get, go, head, keep, kept, notice, number, post, shownCell, size, t, told, waiting } from "./base.js";
import { bars, histogram } from "./plot.js";

const NOTHING = () => ({ kind: {}, target: [], task: "", ignore: [], encoding: "", group: "", time: "", split: "", join: [], columns: [] });
export const chosen = { source: "", ...NOTHING() };
export const dataSettings = () => Object.fromEntries(Object.entries({ target: chosen.target, kind: chosen.kind, ignore: chosen.ignore, task: chosen.task, encoding: chosen.encoding, group: chosen.group, time: chosen.time, split: chosen.split, join: chosen.join }).filter(([, value]) => (Array.isArray(value) ? value.length : typeof value === "object" ? Object.keys(value).length : value)));

// What was chosen outlives a page that is loaded anew, in the folder that it was chosen in.
let root = "";
export async function remembered() {
  const start = await get("api/start");
  root = start.root;
  if (chosen.source) return start;
  try { const found = JSON.parse(kept("duomo.chosen", "{}")); if (found.root === root) Object.assign(chosen, found.chosen); } catch { /* nothing is remembered */ }
  return start;
}
const remember = () => keep("duomo.chosen", JSON.stringify({ root, chosen }));

export async function data(place, [source]) {
  const start = await remembered();
  if (source) return look(place, source);
  place.append(head(t("What do you have?"), t("Drop a table, a folder of pictures or sounds, or a text. It stays on this machine.")), chosen.source && el("p.row", {}, t("Chosen now:"), go(`data/${encodeURIComponent(chosen.source)}`, chosen.source.split("/").pop(), ""), go("train", t("Train on it"), "")) || "", dropZone(), await chooser(start.dropped ? "data" : ""), samples(start));
}

// -- choosing
function dropZone() {
  const say = el("p.soft", { role: "status" });
  const file = el("input.hidden", { type: "file", multiple: true, tabindex: -1, "aria-label": t("Choose files"), onchange: () => send([...file.files].map((one) => [one.name, one]), say) });
  const folder = el("input.hidden", { type: "file", webkitdirectory: true, tabindex: -1, "aria-label": t("Choose a folder"), onchange: () => send([...folder.files].map((one) => [one.webkitRelativePath || one.name, one]), say) });
  const zone = el("div.drop", { role: "group", "aria-label": t("Drop data here") },
    el("svg.big", { viewBox: "0 0 24 24", "aria-hidden": "true" }, el("path", { d: "M12 15V4m0 0L8 8m4-4l4 4M4 15v4a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-4" })),
    el("p", {}, t("Drop a file or a folder here")), el("p.row", {}, button(t("Choose files"), async () => file.click()), button(t("Choose a folder"), async () => folder.click(), ".plain")), say, file, folder);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const found = entries.length ? [] : [...event.dataTransfer.files].map((file) => [file.name, file]);
    try { for (const entry of entries) await walk(entry, "", found); await send(found, say); } catch (error) { complain(error); }
  });
  return zone;
}
async function walk(entry, path, found) {
  if (entry.isFile) { found.push([path + entry.name, await new Promise((resolve, reject) => entry.file(resolve, reject))]); return; }
  const reader = entry.createReader();
  for (let part = []; (part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length;) for (const inner of part) await walk(inner, `${path}${entry.name}/`, found);
}
async function send(files, say) {
  const wanted = files.filter(([path]) => !path.split("/").some((part) => part.startsWith(".")));
  if (!wanted.length) { notice(t("There was no file in what you dropped."), "error"); return; }
  const upload = crypto.randomUUID(), total = wanted.reduce((sum, [, file]) => sum + file.size, 0);
  let sent = 0, next = 0;
  const tell = () => { say.textContent = t("{done} of {total} received.", { done: size(sent), total: size(total) }); };
  tell();
  const worker = async () => {
    while (next < wanted.length) {
      const [path, file] = wanted[next++];
      await call("PUT", `api/upload/${upload}?path=${encodeURIComponent(path)}`, file);
      sent += file.size;
      tell();
    }
  };
  try {
    await Promise.all([worker(), worker(), worker(), worker()]);
    const { source, weights } = await post(`api/upload/${upload}`);
    if (!weights) { if (say.isConnected) location.hash = `data/${encodeURIComponent(source)}`; else notice(t("{name} was added.", { name: source.split("/").pop() }), "good"); return; }
    chosen.start = source;
    remember();
    say.textContent = "";
    notice(t("{name} holds a model's weights. Choose data, and training starts from them.", { name: source.split("/").pop() }), "good");
    if (chosen.source && say.isConnected) location.hash = "train";
  } catch (error) { next = wanted.length; say.textContent = ""; complain(error); } // the others are not sent in vain
}
async function chooser(path) {
  const found = await get(`api/files?path=${encodeURIComponent(path)}`);
  const box = el("section.card", {}, el("h2", {}, t("Or choose existing data")), el("p.soft", {}, found.root + (found.path ? `/${found.path}` : "")));
  const open = async (where) => { const next = await chooser(where); box.replaceWith(next); next.querySelector("button, a")?.focus(); }; // the keyboard goes with it
  const up = found.path && el("li", {}, button(t("Up"), () => open(found.path.split("/").slice(0, -1).join("/")), ".plain"));
  const lines = found.entries.map((entry) => el("li", {}, entry.folder ? button(`${entry.name}/`, () => open(entry.path), ".link") : go(`data/${encodeURIComponent(entry.path)}`, entry.name, ""),
    entry.folder ? go(`data/${encodeURIComponent(entry.path)}`, t("Open it as data"), ".soft") : el("span.soft", {}, size(entry.bytes))));
  box.append(found.entries.length || up ? el("ul.files", {}, up, lines) : el("p", {}, t("There are no data here yet.")), found.more && el("p.soft", {}, t("{count} more are not listed.", { count: count(found.more) })) || "");
  return box;
}
const samples = (start) => el("section.card", {}, el("h2", {}, t("Or start with a sample")), el("ul.samples", {}, start.samples.map((sample) =>
  el("li", {}, button(sample.title, async () => { const { source } = await post("api/sample", { name: sample.name }); location.hash = `data/${encodeURIComponent(source)}`; }, ".link"), el("span.soft", {}, sample.licence)))));

// -- looking
let asked = 0;
async function look(place, source, settled = false) {
  if (chosen.source !== source) Object.assign(chosen, { source, ...NOTHING() });
  const reading = waiting(t("Reading the data and checking them …"));
  if (settled) { reading.classList.add("aside"); place.classList.add("busy"); place.append(reading); } // what is there stays until what replaces it has come
  else place.replaceChildren(head(source.split("/").pop()), reading);
  const again = () => look(place, source, true).catch(complain), mine = ++asked, back = placeOf(place);
  let found;
  try { found = await post("api/look", { source, settings: { data: dataSettings() } }); } catch (error) {
    if (mine !== asked) return;
    const reads = (error.encodings ?? []).map((name) => button(t("Read it as {name}", { name }), async () => { chosen.encoding = name; await again(); })), choices = error.choices ?? [];
    const anew = Object.keys(dataSettings()).length > 0 && !reads.length && button(t("Take back what was chosen here"), async () => { chosen.source = ""; await look(place, source); });
    const parts = (error.parts ?? []).map((name) => go(partOf(name), name, ".button.plain"));
    if (!reads.length && error.status === 422) { keep("duomo.chosen", "{}"); chosen.source = ""; } // it is not trained on as it is
    place.classList.remove("busy");
    place.replaceChildren(head(source.split("/").pop()), empty(t("This cannot be used as it is"), error.message, ...reads, anew, ...parts, ...choices.map((name) => go(`data/${encodeURIComponent(`${source}/${name}`)}`, name, ".button.plain")), go("data", t("Choose other data"), reads.length || anew ? ".button.plain" : choices.length + parts.length ? "" : ".button")));
    told(error.command);
    return;
  }
  if (mine !== asked) return; // something else was chosen meanwhile
  const proposal = found.proposal ?? {}, target = proposal.target?.length ? proposal.target : found.target ? [found.target] : [];
  chosen.proposed = { task: proposal.task ?? "", target };
  chosen.columns = found.columns.map((column) => column.name);
  remember();
  const wide = found.columns.length + found.more_columns;
  place.replaceChildren(head(source.split("/").pop(), t(wide === 1 ? "{rows} rows, {columns} column" : "{rows} rows, {columns} columns", { rows: count(found.rows), columns: count(wide) })),
    settle(found, proposal, target, again), findings(found, again), rows(found), columns(found, target, again));
  place.classList.remove("busy");
  if (settled && place.isConnected) back();
}
// Where the reader and the keyboard are, to be found again when the room is drawn anew: on what was changed, or on the room where that is gone.
function placeOf(place) {
  const held = place.contains(document.activeElement) ? document.activeElement : null, name = held?.getAttribute("aria-label"), id = held?.id, high = window.scrollY;
  return () => {
    const found = id ? document.getElementById(id) : name ? [...place.querySelectorAll(held.tagName)].find((node) => node.getAttribute("aria-label") === name) : null;
    if (held) (found ?? document.getElementById("main")).focus({ preventScroll: true });
    window.scrollTo(0, high);
  };
}
function settle(found, proposal, target, again) {
  const select = el("select", { id: "choose-target", onchange: () => { chosen.target = select.value ? [select.value] : []; again(); } },
    el("option", { value: "" }, t("let Duomo decide")), found.columns.map((column) => el("option", { value: column.name, selected: chosen.target.includes(column.name) }, column.name)));
  const task = el("select", { id: "choose-task", onchange: () => { chosen.task = task.value; again(); } }, el("option", { value: "" }, t("let Duomo decide")),
    Object.entries(found.tasks).map(([name, title]) => el("option", { value: name, selected: name === chosen.task }, title)));
  const notes = proposal.problem ? [el("p.bad", {}, proposal.problem)] : (proposal.notes ?? []).map((note) => el("p", {}, note)), acts = acted(found.proposal_acts, again);
  const encoding = el("select", { id: "choose-encoding", onchange: () => { chosen.encoding = encoding.value; again(); } }, el("option", { value: "" }, t("let Duomo decide")), [...new Set([...found.encodings, chosen.encoding])].filter(Boolean).map((name) => el("option", { value: name, selected: name === chosen.encoding }, name)));
  return el("section.card.lead", {}, el("h2", {}, t("What would be learned")), notes, acts.length > 0 && el("p", {}, acts), proposal.model && el("p", {}, t("Model: {model}.", { model: proposal.model }), " ", el("span.soft", {}, proposal.reason)),
    el("label.inline", {}, el("span", {}, t("What to learn")), task), el("label.inline", {}, el("span", {}, t("Column to predict")), select), (found.encodings.length || chosen.encoding) && el("label.inline", {}, el("span", {}, t("Encoding")), encoding), chosen.source.includes("::") && el("p.inline", {}, el("span", {}, t("Part of the file")), chosen.source.split("::")[1], go(`data/${encodeURIComponent(chosen.source.split("::")[0])}`, t("choose another"), "")), taken(again), el("p.next", {}, !proposal.problem && go("train", t("Train a model on this")), go("data", t("Choose other data"), ".button.plain")));
}
const partOf = (name) => `data/${encodeURIComponent(`${chosen.source.split("::")[0]}::${name}`)}`;
// A sentence that names a flag has a button here: the page has no command line to put it on.
function acted(acts, again) {
  const made = { kind: ({ value, more }) => chosen.kind[value] === more, ignore: ({ value }) => chosen.ignore.includes(value), join: ({ value }) => chosen.join[0] === value, target: ({ value }) => chosen.target[0] === value };
  const make = { kind: ({ value, more }) => { chosen.kind[value] = more; }, ignore: ({ value }) => chosen.ignore.push(value), join: ({ value, more }) => { chosen.join = [value, more]; }, target: ({ value }) => { chosen.target = [value]; }, part: ({ value }) => { location.hash = partOf(value); } };
  const label = ({ setting, value, more, now }) => ({ kind: now === "id" ? t("Learn from it") : t("Read it as {name}", { name: t(more) }), ignore: t("Leave out {name}", { name: value }), task: t("Learn this instead: {name}", { name: t(value) }), split: t("Split at random"),
    join: t("Join the rows of each {name}", { name: value }), target: t("Predict {name}", { name: value }), part: t("Open {name}", { name: value }) })[setting] ?? t("Split by {name}", { name: value });
  return acts.filter((act) => !(made[act.setting] ?? (() => chosen[act.setting] === act.value))(act))
    .map((act) => [" ", button(label(act), async () => { if (make[act.setting]) make[act.setting](act); else chosen[act.setting] = act.value; if (act.setting !== "part") await again(); }, ".link")]);
}
// What such a button has set, where nothing else on the page shows it.
const MADE = { group: "Kept together", time: "The latest are the test", split: "Split", join: "Joined" };
const taken = (again) => Object.entries(MADE).filter(([name]) => String(chosen[name])).map(([name, words]) =>
  el("p.inline", {}, el("span", {}, t(words)), [chosen[name]].flat().map((one) => t(one)).join(", "), button(t("take it back"), async () => { chosen[name] = name === "join" ? [] : ""; await again(); }, ".link")));
function findings(found, again) {
  const tones = { error: "bad", warning: "doubt", note: "soft" }, names = { error: t("Fix first"), warning: t("Look at it"), note: t("Good to know") };
  const noticed = found.noticed.map((one) => ({ severity: "note", remedy: "", rows: [], ...one }));
  const all = [...found.findings, ...noticed];
  return el("section.card", {}, el("h2", {}, t("What is wrong with it")), all.length ? el("ul.findings", {}, all.map((one) => el("li", {}, el(`span.tag.${tones[one.severity]}`, {}, names[one.severity]),
    el("div", {}, el("p", {}, one.sentence, !one.remedy && acted(one.acts, again)), (one.remedy || one.rows.length > 0) && el("p.soft", {}, one.remedy, one.rows.length ? ` ${t("For example rows {rows}, counted from 1.", { rows: one.rows.map((row) => row + 1).join(", ") })}` : "", one.remedy && acted(one.acts, again))))))
    : el("p", {}, t("Nothing was found.")));
}
function rows(found) {
  if (!found.rows_shown.length) return "";
  const seen = found.rows_shown.some((cells) => cells.some((cell) => cell.source));
  if (seen) {
    return el("section.card", {}, el("h2", {}, t("A few of them")), el("ul.gallery", {}, found.rows_shown.map((cells) => { const medium = cells.find((cell) => cell.source) ?? cells.find((cell) => ["image", "audio", "video"].includes(cell.kind)) ?? cells[0]; return el("li", {}, shownCell(medium),
      el("span.soft", {}, cells.filter((cell) => cell !== medium && cell.kind !== "id").map((cell) => cell.text).join(" · "))); })));
  }
  const names = found.rows_shown[0].map((cell) => cell.name);
  return el("section.card", {}, el("h2", {}, t("A few rows")), el("div.scroll", { tabindex: 0, role: "region", "aria-label": t("A few rows") }, el("table", {}, el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, found.rows_shown.map((cells) => el("tr", {}, cells.map((cell) => el("td.cell", {}, shownCell(cell)))))))));
}
function columns(found, target, again) {
  return el("section", {}, el("h2", {}, t("Columns")), el("div.columns", {}, found.columns.map((column) => {
    const kind = el("select", { "aria-label": t("Kind of {name}", { name: column.name }), onchange: () => { chosen.kind[column.name] = kind.value; again(); } },
      found.kinds.map((name) => el("option", { value: name, selected: name === column.kind }, found.kind_names[name])));
    const out = el("input", { type: "checkbox", "aria-label": t("Leave out {name}", column), checked: chosen.ignore.includes(column.name), onchange: () => { chosen.ignore = chosen.ignore.filter((name) => name !== column.name).concat(out.checked ? [column.name] : []); again(); } });
    const chart = column.chart?.values?.length ? column.chart.kind === "histogram" ? histogram(column.chart, column.name) : bars(column.chart.labels.slice(0, 5), column.chart.values.slice(0, 5), column.name, count) : null;
    const facts = [t("{count} different", { count: count(column.distinct) }), column.missing ? t("{count} missing", { count: count(column.missing) }) : "", column.facts?.mean != null ? t("mean {value}", { value: number(column.facts.mean) }) : ""].filter(Boolean);
    return el("section.card.column", {}, el("h3", {}, column.name, target.includes(column.name) && el("span.tag.good", {}, t("target"))), el("p.row", {}, kind, !target.includes(column.name) && el("label.check", {}, out, t("leave out"))), el("p.soft", {}, column.reason), chart, el("p.soft", {}, facts.join(" · ")));
  })), found.more_columns ? el("p.soft", {}, t("{count} more are not listed.", { count: count(found.more_columns) })) : "");
}

// Room 2: one dial, the rest folded away; then the run as it goes: prediction, progress, curves, samples.
import { button, call, complain, count, duration, el, empty, get, go, head, metric, notice, number, post, run, state, t, told, unshown, waiting } from "./base.js";
import { chosen, dataSettings, remembered } from "./data.js";
import { bar, curves } from "./plot.js";

export async function train(place, [name]) {
  if (name) return watch(place, name);
  const [{ runs }] = await Promise.all([get("api/runs"), remembered()]);
  queue = underWay(runs);
  if (!chosen.source) {
    place.append(head(t("Train")), queue, empty(t("No data are chosen yet"), t("A model is learned from data. Choose them first; then this page proposes how to train."), go("data", t("Choose data"))));
    return;
  }
  const task = chosen.task || chosen.proposed?.task || "";
  const near = chosen.source.split("/").slice(0, -1).join("/");
  const [form, beside] = await Promise.all([get(`api/form?task=${encodeURIComponent(task)}`), get(`api/files?path=${encodeURIComponent(near)}`).catch(() => ({ entries: [] }))]);
  form.files = beside.entries.filter((entry) => entry.path !== chosen.source).map((entry) => entry.path);
  place.append(head(t("Train on {source}", { source: chosen.source.split("/").pop() }), chosen.proposed?.target?.length ? t("To predict {target}.", { target: chosen.proposed.target.join(", ") }) : ""), recipe(form, task), queue);
}

// What runs and what waits, in the order of the queue; what was paused or failed behind it.
let queue = null;
const PLACES = ["running", "queued", "paused", "failed"];
function underWay(runs) {
  const busy = runs.filter((one) => PLACES.includes(one.state)).sort((a, b) => PLACES.indexOf(a.state) - PLACES.indexOf(b.state) || a.at - b.at);
  return el("div", {}, busy.length > 0 && el("section.card", {}, el("h2", {}, t("In progress")), el("ul.lines", {}, busy.map((one) => el("li", {}, go(`train/${encodeURIComponent(one.name)}`, one.name, ""), state(one.state))))));
}

// -- the form: only what was changed is said; everything else is derived
const MINUTES = [["", "As long as needed"], ["0.5", "Half a minute"], ["2", "Two minutes"], ["10", "Ten minutes"], ["60", "An hour"]];
const SIZES = [["", "Duomo decides"], ["small", "Small"], ["base", "Medium"], ["large", "Large"]];
function recipe(form, task) {
  const values = {}, set = (path, value) => { if (value === undefined || value === "") delete values[path]; else values[path] = value; say(); };
  const choice = (label, path, choices, cast) => el("fieldset.dial", {}, el("legend", {}, label), choices.map(([value, words]) =>
    el("label", {}, el("input", { type: "radio", name: path, value, checked: value === "", onchange: () => { set(path, value && cast(value)); const exact = document.getElementById(`set-${path}`); if (exact) exact.value = value; } }), el("span", {}, t(words)))));
  const name = el("input", { type: "text", maxlength: 80, placeholder: chosen.source.split("/").pop().split(".")[0], autocomplete: "off" });
  const nested = () => {
    const found = { data: dataSettings() };
    for (const [path, value] of Object.entries(values)) { const parts = path.split("."), last = parts.pop(); parts.reduce((inner, part) => (inner[part] ??= {}), found)[last] = value; }
    return found;
  };
  // The command that the form stands for, a moment after the last change.
  let soon = 0;
  const say = () => { clearTimeout(soon); soon = setTimeout(() => post("api/command", { source: chosen.source, settings: nested(), name: name.value.trim() }).catch(complain), 250); };
  name.addEventListener("input", say);
  const start = async (button, once) => {
    clearTimeout(soon);
    const { name: made } = await post("api/train", { source: chosen.source, settings: nested(), name: name.value.trim() });
    notice(t("{name} is in the queue.", { name: made }), "good");
    if (!once) queue.replaceWith(queue = underWay((await get("api/runs")).runs));
    if (once && button.isConnected) location.hash = `train/${encodeURIComponent(made)}`; // who has left meanwhile stays where they are
  };
  say();
  const sections = form.sections.map((section) => el("details", {}, el("summary", {}, t(TITLES[section.name] ?? section.name), el("span.soft", {}, section.title)),
    el("div.fields", {}, section.fields.map((field) => setting(field, set, form.files)))));
  return el("div", {}, el("section.card.lead", {}, choice(t("How long"), "train.minutes", MINUTES, Number), choice(t("How large"), "model.size", SIZES, String), begin(form.starts, set), el("label.inline", {}, el("span", {}, t("Name of the run")), name),
    el("p.next", {}, button(t("Start training"), (node) => start(node, true)), button(t("Queue it and stay here"), (node) => start(node, false), ".plain"))), el("section.card", {}, el("h2", {}, t("Everything else")), el("p.soft", {}, t("What you do not change follows from the data.")), sections));
}
// What training goes on from: nothing, a run, weights that lie here, or a folder of them given now.
function begin(starts, set) {
  const node = el("label.inline"), tell = (path) => { chosen.start = path; set("adapt.start", path); };
  const known = starts.includes(chosen.start) ? chosen.start : "";
  tell(known);
  const select = el("select", { onchange: () => tell(select.value) }, el("option", { value: "" }, t("nothing: train from scratch")), starts.map((path) => el("option", { value: path, selected: path === known }, path)));
  node.append(el("span", {}, t("Begin from")), select, go("data", t("Add weights"), ""));
  return node;
}
const TITLES = { train: "Learning", model: "Model", data: "Rows", encode: "From cells to numbers", augment: "Variation", clean: "Cleaning texts", adapt: "Going on from a model", task: "The task" };
const FILES = ["data.test", "data.valid"], SHARED = { "data.group": "group", "data.time": "time" }; // the second are set in the data room too
function setting(field, tell, files) {
  // A dial's exact value may be said here too; then no choice of the dial stands.
  const set = (path, value) => { tell(path, value); document.getElementsByName(path).forEach((choice) => { choice.checked = choice.value === String(value ?? ""); }); };
  const name = field.path.split(".").at(-1), own = field.title === name.replaceAll("_", " "), id = `set-${field.path}`, hint = `${id}-help`;
  const facts = { id, "aria-describedby": hint }, shared = SHARED[field.path];
  let input;
  if (field.kind === "bool") input = el("input", { ...facts, type: "checkbox", checked: field.default, onchange: () => set(field.path, input.checked === field.default ? undefined : input.checked) });
  else if (field.kind === "column") input = el("select", { ...facts, onchange: () => { if (shared) chosen[shared] = input.value; set(field.path, input.value || undefined); } }, el("option", { value: "" }, t("none")), chosen.columns.map((name) => el("option", { value: name, selected: shared && name === chosen[shared] }, name)));
  else if (field.kind === "choice") input = el("select", { ...facts, onchange: () => set(field.path, input.value === field.default ? undefined : input.value) }, field.choices.map((choice) => el("option", { value: choice, selected: choice === field.default }, choice || t("let Duomo decide"))));
  else {
    const numeric = ["integer", "number"].includes(field.kind);
    const derived = field.derived ? t("derived") : String(field.default);
    input = el("input", { ...facts, type: numeric ? "number" : "text", min: field.low, max: field.high, step: field.kind === "integer" ? 1 : "any", placeholder: derived, onchange: () =>
      set(field.path, input.value === "" ? undefined : numeric ? Number(input.value) : field.kind === "list" ? input.value.split(",").map((part) => part.trim()).filter(Boolean) : input.value) });
  }
  const known = FILES.includes(field.path) && files.length > 0 && el("datalist", { id: `${id}-known` }, files.map((path) => el("option", { value: path })));
  if (known) input.setAttribute("list", `${id}-known`);
  return el("div.field", {}, el("label.name", { for: id }, field.title, !own && el("span.soft", {}, ` ${name}`)), input, known, el("p.soft", { id: hint }, field.help));
}

// -- a run as it goes
function watch(place, name) {
  const lines = [];
  let offset = 0, over = false, timer = 0, shown = "", since = null;
  const title = el("span"), top = el("div"), pictures = el("div.pictures"), log = el("ol.said");
  place.append(head(name), top, pictures, el("details.card", {}, el("summary", {}, t("Training log")), log));
  const act = (verb, sentence) => async () => { await post(run(name, `/${verb}`)); notice(sentence); await step(); };
  const stop = async () => {
    const { kept } = await post(run(name, "/stop"));
    notice(t(kept ? "{name} was stopped and moved to the trash." : "{name} was removed.", { name }), "info", kept && (async () => { await post("api/undo", { kept }).catch(complain); location.hash = `train/${encodeURIComponent(name)}`; }));
    location.hash = "train";
  };
  const buttons = {
    queued: () => [button(t("Remove it from the queue"), act("pause", t("It was removed from the queue.")), ".plain"), button(t("Stop"), stop, ".plain.danger")],
    running: () => [button(t("Pause"), act("pause", t("It saves its progress and pauses.")), ".plain"), button(t("Stop"), stop, ".plain.danger")],
    paused: () => [button(t("Go on"), act("resume", t("It continues where it stopped."))), button(t("Stop"), stop, ".plain.danger")],
    failed: (begun) => [button(t("Try again"), act("resume", t(begun ? "It continues where it stopped." : "It begins anew.")), ".plain"), button(t("Remove it"), stop, ".plain.danger")],
    finished: () => [go(`results/${encodeURIComponent(name)}`, t("See the results")), go(`try/${encodeURIComponent(name)}`, t("Try it"), ".button.plain")],
  };
  async function step() {
    const found = await get(`${run(name)}?offset=${offset}`);
    if (found.anew) lines.length = 0;
    lines.push(...found.lines);
    offset = found.offset;
    if (!place.isConnected) return;
    if (shown !== found.state) { if (!shown) told(found.command); shown = found.state; title.replaceChildren(state(found.state)); controls.replaceChildren(...buttons[found.state](found.begun)); }
    if (found.progress?.label !== since?.label || found.state !== "running") since = found.progress && { label: found.progress.label, done: found.progress.done, at: Date.now() };
    status.replaceChildren(...describe(found, lines, left(found.progress, since)));
    pictures.replaceChildren(...draw(lines));
    log.replaceChildren(...found.messages.map((sentence) => el("li", {}, sentence)));
    over = ["finished", "failed", "paused"].includes(found.state) && !found.lines.length;
  }
  const controls = el("p.next"), status = el("div");
  top.append(el("section.card.lead", {}, title, status, controls));
  const loop = async () => { try { await step(); } catch (error) { if (place.isConnected) { if (!shown || error.status === 422) return unshown(place, error); complain(error); } over = true; } if (place.isConnected) timer = setTimeout(loop, over ? 3000 : 700); };
  status.append(waiting(t("One moment …")));
  loop();
  return () => clearTimeout(timer);
}
// Seconds that are left at the rate seen since the page is open; nothing in the first moments.
function left(progress, since) {
  const done = progress && since ? progress.done - since.done : 0, took = since ? (Date.now() - since.at) / 1000 : 0;
  return done > 0 && took > 3 ? ((progress.total - progress.done) * took) / done : null;
}
const reached = (value) => number(value, Number.isInteger(value) ? 9 : 3);
function describe(found, lines, rest) {
  const last = lines.filter((line) => "loss" in line).at(-1), progress = found.progress, judged = lines.filter((line) => line.valid).at(-1)?.valid ?? {};
  const words = {
    queued: found.waits_for ? t("{count} before it in the queue.", { count: count(found.waits_for) }) : t("It starts in a moment."),
    running: progress ? t("{label}: {done} of {total} {unit}", { label: progress.label, done: reached(progress.done), total: reached(progress.total), unit: progress.unit }) + (rest === null ? "" : ` · ${t("about {time} left", { time: duration(rest) })}`) : t("Reading the data and finding the fastest way to train …"),
    paused: found.problem || t("It has been paused: nothing is lost, and it can go on at any time."), failed: found.problem || t("It ended before it had begun to train."), finished: t("Training and testing are done."),
  }[found.state];
  const facts = [last && [t("step"), count(last.step)], last && [t("loss"), number(last.loss)], ...Object.entries(judged).filter(([name, value]) => typeof value === "number" && name !== "loss").slice(0, 3).map(([name, value]) => [t("{name} on validation", { name: metric(name) }), number(value)])].filter(Boolean);
  return [el(found.state === "failed" ? "p.bad" : "p", { role: "status" }, words), found.preflight && found.state !== "finished" ? el("p.soft", {}, found.preflight) : "", found.state === "running" && progress ? el("div.progress", { role: "progressbar", "aria-label": t("Progress"), "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round((100 * progress.done) / (progress.total || 1)) }, bar(progress.done / (progress.total || 1))) : "",
    facts.length ? el("dl.facts", {}, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))) : ""];
}
function draw(lines) {
  const losses = lines.filter((line) => "loss" in line).map((line) => [line.step, line.loss]);
  const judged = lines.filter((line) => line.valid), names = [...new Set(judged.flatMap((line) => Object.keys(line.valid)))].filter((name) => name !== "loss");
  const samples = lines.filter((line) => line.event === "sample").slice(-3).reverse();
  if (!losses.length) return [];
  const loss = { [t("training")]: losses, ...(judged.length ? { [t("validation")]: judged.map((line) => [line.step, line.valid.loss]) } : {}) };
  return [el("section.card", {}, el("h3", {}, t("Loss")), curves(loss, t("step"), t("Loss")), el("p.note", {}, t("What training lowers. Where the line of the validation rises again, the model begins to learn by heart; the best moment before is kept."))), ...(judged.length > 1 ? names.slice(0, 3).map((name) => el("section.card", {}, el("h3", {}, t("{name} on validation", { name: metric(name) })), curves({ [metric(name)]: judged.map((line) => [line.step, line.valid[name]]) }, t("step"), metric(name)))) : []),
    ...(samples.length ? [el("section.card", {}, el("h3", {}, t("What it writes")), samples.map((line) => el("p.written", {}, el("span.soft", {}, `${count(line.step)} `), line.text)))] : [])];
}

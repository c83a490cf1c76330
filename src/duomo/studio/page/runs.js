// Room 5: every run, to find, rename, delete (and take back), export and serve.
import { button, call, complain, el, empty, figure, get, go, head, metric, notice, post, run, state, t, told, when } from "./base.js";

export async function runs(place) {
  const search = el("input", { type: "search", placeholder: t("Search runs"), "aria-label": t("Search runs"), oninput: () => show() });
  const list = el("div", { role: "region", "aria-label": t("Runs") });
  let found = { runs: [], served: {} }, timer = 0, drawn = "";
  place.append(head(t("Runs"), t("Each run is a folder of open files that you can take anywhere.")), el("p", {}, search), list);
  const load = async () => { found = await get("api/runs"); show(); };
  // What is to be done with a run, by its label; its name where nothing is called so.
  const at = (name, label) => { const card = [...list.children].find((one) => one.querySelector("h2 a")?.textContent === name); return card && ([...card.querySelectorAll("a, button")].find((one) => one.textContent === label) ?? card.querySelector("h2 a")); };
  // Draws anew, though the button was at work until now, and puts the keyboard back where it was: on the run, or on the search where the run is gone.
  const again = async (name, node) => { node?.removeAttribute("aria-busy"); drawn = ""; await load(); (at(name) ?? search).focus(); };
  function show() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = found.runs.filter((one) => words.every((word) => `${one.name} ${one.task} ${one.model ?? ""} ${one.source} ${one.state} ${t(one.state)}`.toLowerCase().includes(word)));
    const now = JSON.stringify([wanted, found.served, search.value]);
    if (now === drawn || list.querySelector("form, button[aria-busy]")) return;
    drawn = now;
    const held = document.activeElement, name = list.contains(held) && held.closest("section.run")?.querySelector("h2 a").textContent;
    if (!found.runs.length) list.replaceChildren(empty(t("There are no runs yet"), t("A run is what training produces: the model and everything that belongs to it."), go("data", t("Choose data"))));
    else if (!wanted.length) list.replaceChildren(el("p", {}, t("No run fits «{words}».", { words: search.value })));
    else list.replaceChildren(...wanted.map((one) => card(one, found.served[one.name], again)));
    if (name) (at(name, held.textContent) ?? search).focus({ preventScroll: true });
  }
  await load();
  told("duomo list runs");
  const loop = async () => { try { await load(); } catch (error) { if (place.isConnected) complain(error); } if (place.isConnected) timer = setTimeout(loop, 2500); };
  timer = setTimeout(loop, 2500);
  return () => clearTimeout(timer);
}
function card(one, served, again) {
  const title = el("h2", {}, go(`${one.state === "finished" ? "results" : "train"}/${encodeURIComponent(one.name)}`, one.name, ""));
  const rename = button(t("Rename"), async () => {
    const input = el("input", { type: "text", value: one.name, "aria-label": t("New name"), maxlength: 80 });
    const form = el("form.row", { onsubmit: async (event) => {
      event.preventDefault();
      try { const { name } = await post(run(one.name, "/rename"), { name: input.value }); form.remove(); notice(t("It is called {name} now.", { name }), "good"); await again(name); } catch (error) { complain(error); }
    } }, input, el("button", { type: "submit" }, t("Save")), button(t("Cancel"), async () => { form.remove(); await again(one.name); }, ".plain"));
    title.replaceWith(form);
    input.focus();
    input.select();
  }, ".plain");
  const remove = button(t("Delete"), async (node) => {
    const { kept } = await call("DELETE", run(one.name));
    notice(t(kept ? "{name} is in the trash." : "{name} was removed.", { name: one.name }), "info", kept && (() => post("api/undo", { kept }).then(({ name }) => { notice(t("{name} is back.", { name }), "good"); return again(name); }).catch(complain)));
    await again("", node);
  }, ".plain.danger");
  const serve = served ? button(t("Stop serving"), async (node) => { await post(run(one.name, "/unserve")); await again(one.name, node); }, ".plain")
    : button(t("Serve"), async (node) => { node.textContent = t("Starting …"); const found = await post(run(one.name, "/serve")).finally(() => { node.textContent = t("Serve"); }); notice(t("Served at {address}.", found), "good"); await again(one.name, node); }, ".plain");
  const done = one.state === "finished", busy = ["running", "queued"].includes(one.state);
  return el("section.card.run", {}, title, el("p.row", {}, state(one.state), one.task && el("span.soft", {}, t(one.task)), one.model && el("span.soft", {}, one.model), one.figure && el("span", {}, `${metric(one.metric)} ${figure(one.figure)}`), el("span.soft", {}, when(one.at))),
    one.problem && el("p.bad", {}, one.problem), served && el("p.good", {}, t("Served at "), el("a", { href: served.address, target: "_blank", rel: "noopener noreferrer" }, served.address), " ", t("until the studio is closed.")),
    el("p.row.actions", {}, done && go(`try/${encodeURIComponent(one.name)}`, t("Try it"), ".button.plain"), done && serve, done && el("a.button.plain", { href: run(one.name, "/export"), download: `${one.name}.zip` }, t("Export")), !done && go(`train/${encodeURIComponent(one.name)}`, busy ? t("See progress") : t("Open it"), ".button.plain"), !busy && [one.begun && rename, remove]));
}

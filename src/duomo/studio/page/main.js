// The way between the rooms: the address says which, so that the browser's own back works.
import { calm, complain, el, get, keep, learn, settings, t, told, unshown, waiting } from "./base.js";
import { data } from "./data.js";
import { results } from "./results.js";
import { runs } from "./runs.js";
import { train } from "./train.js";
import { tryIt } from "./try.js";

const ROOMS = {
  data: [data, "Data", "M4 7c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3zm0 0v10c0 1.7 3.6 3 8 3s8-1.3 8-3V7M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3"],
  train: [train, "Train", "M3 20h18M5 16l4-6 4 3 6-9"],
  results: [results, "Results", "M5 20v-7M12 20V5M19 20v-11"],
  try: [tryIt, "Try it", "M4 5h16v11H10l-4 4v-4H4z"],
  runs: [runs, "Runs", "M4 6h16M4 12h16M4 18h16"],
};
let leave = null, entered = 0;

// Parts of an address as they are meant; what nobody can have meant stays as it is written.
const plain = (part) => { try { return decodeURIComponent(part); } catch { return part; } };

async function enter() {
  const [room = "data", ...rest] = location.hash.slice(1).split("/").map(plain);
  const known = ROOMS[room] ? room : "data", mine = ++entered;
  leave?.();
  leave = null;
  if (settings.language === "zh") await (settings.words ??= get("api/words").then(learn).catch(complain));
  if (mine !== entered) return; // another room was chosen meanwhile
  frame(known);
  const main = document.getElementById("main");
  const place = el("div.room");
  main.replaceChildren(place, waiting(t("One moment …"))); // seen as long as the room is empty
  document.title = `${t(ROOMS[known][1])} · Duomo`;
  window.scrollTo(0, 0);
  try {
    const left = await ROOMS[known][0](place, rest);
    if (place.isConnected) leave = left; else left?.();
  } catch (error) { if (place.isConnected) unshown(place, error); else complain(error); }
}

function frame(room) {
  document.documentElement.lang = settings.language === "zh" ? "zh-CN" : "en";
  document.documentElement.dataset.theme = settings.theme;
  document.querySelector(".skip").textContent = t("Skip to the page");
  const rooms = document.getElementById("rooms");
  rooms.setAttribute("aria-label", t("Rooms"));
  rooms.replaceChildren(...Object.entries(ROOMS).map(([name, [, label, path]]) =>
    el("a", { href: `#${name}`, "aria-current": name === room && "page" }, el("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, el("path", { d: path })), el("span", {}, t(label)))));
  const other = settings.language === "zh" ? ["en", "English"] : ["zh", "中文"];
  const themes = { auto: "As the system", light: "Light", dark: "Dark" };
  document.getElementById("look").replaceChildren(
    el("button.plain", { type: "button", lang: other[0] === "zh" ? "zh-CN" : "en", onclick: () => { settings.language = other[0]; keep("duomo.language", other[0]); enter(); told(); } }, other[1]),
    el("select", { "aria-label": t("Colours"), onchange: (event) => { settings.theme = event.target.value; keep("duomo.theme", settings.theme); document.documentElement.dataset.theme = settings.theme; } },
      Object.entries(themes).map(([name, label]) => el("option", { value: name, selected: name === settings.theme }, t(label)))));
}

// A file that is dropped beside the places for it must not take the place of the page.
for (const name of ["dragover", "drop"]) {
  window.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (!event.target.closest?.(".drop")) event.dataTransfer.dropEffect = "none";
  });
}
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); document.getElementById("main").focus(); });
window.addEventListener("hashchange", () => { calm(); told(null); enter(); });
enter();

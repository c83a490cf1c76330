// How the studio asks this task and shows what it answers: the picture with a box around each thing, and their names.
import { el, t } from "../page/base.js";
import { any, bars, row } from "../page/fields.js";

export const input = row;
export function answer(found, asked) {
  const file = Object.values(asked).find((value) => value?.base64), things = found.prediction;
  if (!file || !Array.isArray(things)) return any(found);
  if (!things.length) return el("p.prediction", {}, t("none"));
  const bytes = Uint8Array.from(atob(file.base64), (letter) => letter.charCodeAt(0)), picture = el("img", { alt: "" });
  const boxes = el("svg", { role: "img", "aria-label": things.map((thing) => thing.label).join(", ") });
  picture.addEventListener("load", () => {
    boxes.setAttribute("viewBox", `0 0 ${picture.naturalWidth} ${picture.naturalHeight}`);
    boxes.replaceChildren(...things.map((thing, place) => { const [left, top, right, bottom] = thing.box; return el(`rect.b${(place % 5) + 1}`, { x: left, y: top, width: right - left, height: bottom - top }, el("title", {}, thing.label)); }));
  });
  picture.src = URL.createObjectURL(new Blob([bytes]));
  return el("div", {}, el("div.boxes", {}, picture, boxes), bars(things.map((thing) => thing.label), things.map((thing) => thing.confidence), t("Probabilities")));
}

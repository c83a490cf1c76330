// How the studio asks this task and shows what it answers: the picture with a box around each thing, and their names.
import { count, el, t } from "../page/base.js";
import { any, bars, blobOf, row, shownPicture } from "../page/fields.js";

const MOST = 12;
export const input = row;
export function answer(found, asked) {
  const file = Object.values(asked).find((value) => value?.base64), things = found.prediction;
  if (!file || !Array.isArray(things)) return any(found);
  if (!things.length) return el("p.prediction", {}, t("nothing was found"));
  const shown = things.slice(0, MOST), labels = [...new Set(things.map((thing) => thing.label))], colour = (thing) => `b${(labels.indexOf(thing.label) % 5) + 1}`;
  const picture = shownPicture(blobOf(file), ""), boxes = el("svg", { role: "img", "aria-label": shown.map((thing) => thing.label).join(", ") });
  picture.addEventListener("load", () => {
    const wide = Number(picture.dataset.width ?? picture.naturalWidth), high = Number(picture.dataset.height ?? picture.naturalHeight);
    boxes.setAttribute("viewBox", `0 0 ${wide} ${high}`);
    boxes.replaceChildren(...shown.map((thing) => { const [left, top, right, bottom] = thing.box; return el(`rect.${colour(thing)}`, { x: left, y: top, width: right - left, height: bottom - top }, el("title", {}, thing.label)); }));
  });
  const counted = labels.map((label) => [label, things.filter((thing) => thing.label === label).length]);
  return el("div", {}, el("p.prediction", {}, counted.map(([label, many]) => (many > 1 ? `${label} ×${count(many)}` : label)).join(", ")), el("div.boxes", {}, picture, boxes),
    el("p.legend", {}, labels.map((label, place) => el(`span.k${(place % 5) + 1}`, {}, label))), bars(shown.map((thing) => thing.label), shown.map((thing) => thing.confidence), t("Probabilities"), (share) => `${(100 * share).toFixed(1)} %`, 1),
    things.length > MOST && el("p.soft", {}, t("The {shown} surest of {count} are drawn.", { shown: MOST, count: count(things.length) })));
}

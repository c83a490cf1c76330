// How the studio asks this task and shows what it answers: who it is, and how alike the nearest known picture is.
import { el, number, t } from "../page/base.js";
import { any, bars, row } from "../page/fields.js";

export const input = row;
export function answer(found) {
  if (typeof found.similarity !== "number") return any(found);
  const nobody = found.prediction !== found.nearest;
  return el("div", {}, el("p.prediction", {}, found.prediction), nobody && el("p", {}, t("Not similar enough to anyone known; {name} is nearest.", { name: found.nearest })), bars([`${t("Similarity")} · ${found.nearest}`], [found.similarity], t("Similarity"), (value) => number(value, 3), 1));
}

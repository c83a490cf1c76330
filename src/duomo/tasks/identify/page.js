// How the studio asks this task and shows what it answers: who it is, and how alike the nearest known picture is.
import { row } from "../page/fields.js";
import { el, number, t } from "../page/base.js";

export const input = row;
export function answer(found) {
  return el("div", {}, el("p.prediction", {}, found.prediction), el("p", {}, `${found.nearest} · ${t("Similarity")} ${number(found.similarity, 3)}`));
}

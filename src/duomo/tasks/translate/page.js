// How the studio asks this task and shows what it answers: the translation, and the training pair that was read beside the text.
import { el, number, t } from "../page/base.js";
import { any, row } from "../page/fields.js";

export const input = row;
export function answer({ memory, ...found }) {
  if (!memory) return any(found);
  return el("div", {}, any(found), el("h3", {}, t("Most similar training rows")), el("p.soft", {}, memory.source), el("p", {}, memory.target), el("p.soft", {}, `${t("Similarity")} ${number(memory.similarity, 3)}`));
}

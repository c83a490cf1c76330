// How the studio asks this task and shows what it answers: the vector drawn, and how near the text is to the one asked before.
import { el, number, spark, t } from "../page/base.js";
import { any, row } from "../page/fields.js";

let before = null;
export const input = row;
export function answer(found, asked) {
  const vector = found.prediction;
  if (!Array.isArray(vector)) return any(found);
  const text = Object.values(asked).find((value) => typeof value === "string") ?? "", last = before;
  before = { text, vector };
  const near = last?.vector.length === vector.length && vector.reduce((sum, value, place) => sum + value * last.vector[place], 0);
  return el("div", {}, el("p.prediction", {}, t("{count} numbers", { count: vector.length })), spark(vector, t("The vector")),
    typeof near === "number" && el("p", {}, t("Cosine with the text asked before, «{text}»: {value}", { text: last.text.slice(0, 80), value: number(near, 3) })));
}

// How the studio asks this task and shows what it answers: a text with gaps, the text filled in, and the likeliest words of each gap.
import { Refused, el, t } from "../page/base.js";
import { row, shares } from "../page/fields.js";

const GAP = /\[MASK\]|<mask>/;
// Of an example its first line, one word of which is taken out.
function gapped(text) {
  if (typeof text !== "string" || GAP.test(text)) return text;
  const short = text.slice(0, 200).replace(/\s+\S*$/, ""), words = [...short.matchAll(/[\p{L}\p{M}\p{N}]+/gu)], word = words[Math.floor(words.length / 2)];
  return word ? `${short.slice(0, word.index)}[MASK]${short.slice(word.index + word[0].length)}` : short;
}
export function input(run, example = {}) {
  const inner = row(run, Object.fromEntries(Object.entries(example).map(([name, cell]) => [name, gapped(cell)])));
  return { ...inner, node: el("div", {}, inner.node, el("p.soft", {}, t("Write [MASK] wherever something is missing."))), read: async () => {
    const found = await inner.read();
    if (!Object.values(found).some((cell) => typeof cell === "string" && GAP.test(cell))) throw new Refused(t("Write [MASK] wherever something is missing."));
    return found;
  } };
}
export const answer = (found) => el("div", {}, el("p.written", {}, found.prediction), (found.gaps ?? []).map((gap, place) => el("section", {}, el("h3", {}, `[MASK] ${place + 1}`), shares(Object.fromEntries(gap.map((one) => [one.token.trim() ? one.token : one.token.replaceAll("\n", "⏎").replaceAll(" ", "␣") || "∅", one.probability]))))));

// How the studio asks this task and shows what it answers: the text filled in, and the likeliest words of each gap.
import { el } from "../page/base.js";
import { row, shares } from "../page/fields.js";

export const input = row;
export const answer = (found) => el("div", {}, el("p.written", {}, found.prediction), (found.gaps ?? []).map((gap, place) => el("section", {}, el("h3", {}, `[MASK] ${place + 1}`), shares(Object.fromEntries(gap.map((one) => [one.token, one.probability]))))));

// How the studio asks this task and shows what it answers: the text with what was found in it marked.
import { el, t } from "../page/base.js";
import { any, row } from "../page/fields.js";

// An example of the data is a list of tokens; a person writes a text. Words stand apart, characters of a text without spaces do not.
const text = (cell) => {
  if (typeof cell !== "string" || !cell.startsWith("[")) return cell;
  try { const tokens = JSON.parse(cell); return tokens.join(tokens.every((token) => [...token].length === 1) ? "" : " "); } catch { return cell; }
};
export const input = (run, example = {}) => row(run, Object.fromEntries(Object.entries(example).map(([name, cell]) => [name, text(cell)])));
export function answer({ tokens, tags, ...found }, asked) {
  const text = Object.values(asked).find((value) => typeof value === "string"), spans = found.prediction;
  if (Array.isArray(spans) && !spans.length) return any({ ...found, prediction: t("nothing was found") });
  if (!text || !Array.isArray(spans) || !spans.every((span) => span && span.end <= text.length && text.slice(span.start, span.end) === span.text)) return any(found);
  const parts = [];
  let end = 0;
  for (const span of spans) {
    parts.push(text.slice(end, span.start), el("mark", {}, span.text, el("small", {}, ` ${span.label}`)));
    end = span.end;
  }
  return el("div", {}, el("p.written", {}, parts, text.slice(end)));
}

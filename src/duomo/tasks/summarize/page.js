// How the studio asks this task and shows what it answers: the summary, and whether it is how the text begins.
import { el, t } from "../page/base.js";
import { any } from "../page/fields.js";

export { row as input } from "../page/fields.js";
export const answer = ({ lead, read, ...found }) => el("div", {}, any(found), lead && el("p.soft", {}, t("This is how the text begins: the model was less sure of what it wrote itself.")));

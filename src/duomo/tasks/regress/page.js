// How the studio asks this task and shows what it answers.
export { row as input, amount as answer } from "../page/fields.js";

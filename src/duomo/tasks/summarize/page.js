// How the studio asks this task and shows what it answers.
export { row as input, any as answer } from "../page/fields.js";

// How the studio asks this task and shows what it answers.
export { row as input, classes as answer } from "../page/fields.js";

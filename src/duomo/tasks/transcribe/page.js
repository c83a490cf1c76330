// How the studio asks this task and shows what it answers.
export { row as input, heard as answer } from "../page/fields.js";

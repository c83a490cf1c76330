// How the studio asks this task and shows what it answers.
export { prompt as input, written as answer } from "../page/fields.js";

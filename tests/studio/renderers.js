async (task) => {
  const found = await import(`${location.pathname}tasks/${task}.js`);
  const columns = { text: "text", image: "image", audio: "audio", film: "video", price: "number", day: "date", kind: "category" };
  const run = { task, columns, choices: {}, examples: [] };
  const shown = found.input(run, { text: "a" });
  const answer = found.answer({ prediction: "b", confidence: 0.5 }, { text: "a" }, run);
  return [shown.node instanceof Element, typeof shown.read, answer instanceof Element && answer.textContent.includes("b")];
}

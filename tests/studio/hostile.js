// Every payload through each place of the page that shows foreign text: cells, names, labels, answers, notices, commands.
async (payloads) => {
  const [base, fields, plot] = await Promise.all(["base", "fields", "plot"].map((name) => import(`${location.pathname}page/${name}.js`)));
  const main = document.getElementById("main");
  for (const text of payloads) {
    const run = { task: text, columns: { [text]: "text", [`${text} `]: "category" }, choices: { [`${text} `]: [text] } };
    const answer = { prediction: text, probabilities: { [text]: 1 }, [text]: text };
    const views = [["texts", { items: [{ title: text, text }] }], ["matrix", { rows: [text], columns: [text], values: [[1]] }], ["bars", { labels: [text], values: [1] }]];
    main.append(
      base.head(text, text), base.empty(text, text, base.go(text, text)), base.shownCell({ kind: "text", text }), base.shownCell({ kind: "image", source: "data:,", text }),
      ...views.map(([kind, data]) => plot.view({ kind, title: text, note: text, data })),
      fields.row(run, { [text]: text }).node,
      ...["any", "classes", "amount", "heard", "written"].map((name) => fields[name](answer, { [text]: text }, run)),
    );
    base.notice(text, "error");
    base.told(text);
  }
}

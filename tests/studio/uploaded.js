() => {
  const { body } = asked({ photo: new File(["x"], "a.png"), note: "a\nb", motion: [[1, 2.5]], age: null });
  return Promise.all([...body].map(async ([name, value]) => [name, value.name ?? "", typeof value === "string" ? value : await value.text()]));
}

async () => {
  const { view } = await import(`${location.pathname}page/plot.js`);
  const { shownPicture } = await import(`${location.pathname}page/fields.js`);
  const drawn = view({ kind: "pictures", title: "a", data: { rows: [{ title: "b", sources: ["data:image/gif;base64,R0lGODlhAQABAAAAACw=", "data:image/gif;base64,R0lGODlhAQABAAAAACw="] }] } });
  const grey = shownPicture(new Blob([new TextEncoder().encode("P2 2 1 255 0 255\n")]), "grey");
  await new Promise((resolve) => { grey.addEventListener("load", resolve); });
  return [drawn.querySelectorAll("img").length, grey.naturalHeight];
}

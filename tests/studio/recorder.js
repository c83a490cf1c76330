async () => {
  const fields = await import(`${location.pathname}page/fields.js`);
  window.field = fields.field("sound", "audio");
  document.getElementById("main").replaceChildren(window.field.node);
}

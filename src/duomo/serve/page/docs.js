"use strict";
const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
const read = (path) => fetch(path).then((answer) => answer.json());
Promise.all([read("/openapi.json"), read("/v1/runs")]).then(([document_, served]) => {
  const place = document.getElementById("routes");
  place.append(make("h2", "curl"), ...served.runs.flatMap((run) => [...openai(run.run, document_), example(run.run, run.columns)]).map((line) => make("pre", line)));
  for (const [path, verbs] of Object.entries(document_.paths)) {
    for (const [verb, route] of Object.entries(verbs)) {
      place.append(make("h2", `${verb.toUpperCase()} ${path}`), make("p", route.description || route.summary || ""));
      const body = route.requestBody && Object.values(route.requestBody.content)[0].schema;
      if (body) place.append(make("pre", JSON.stringify(resolve(body, document_), null, 1)));
    }
  }
}).catch(() => document.getElementById("routes").append(make("p", "The server did not answer.")));
// Calls as OpenAI's clients make them, of the routes at which this run answers.
function openai(name, document_) {
  const asked = { "/v1/chat/completions": { messages: [{ role: "user", content: "..." }] }, "/v1/completions": { prompt: "..." }, "/v1/embeddings": { input: "..." } };
  const answers = (path) => document_.paths[path]?.post.requestBody.content["application/json"].schema.properties.model.enum.includes(name);
  return Object.keys(asked).filter(answers).map((path) => `curl -H 'Content-Type: application/json' -d '${JSON.stringify({ model: name, ...asked[path] }).replaceAll("'", "\\u0027")}' ${location.origin}${path}`);
}
// A call made of this run's own columns.
function example(name, columns) {
  const address = `${location.origin}/v1/predict/${encodeURIComponent(name)}`;
  const names = Object.keys(columns);
  if (names.length === 1 && ["image", "audio", "video"].includes(columns[names[0]])) {
    return `curl -F files=@${{ image: "picture.png", audio: "sound.wav", video: "film.mp4" }[columns[names[0]]]} ${address}`;
  }
  const values = { number: 1.5, image: { base64: "..." }, audio: { base64: "..." }, video: { base64: "..." }, series: [0.1, 0.2, 0.3] };
  const row = Object.fromEntries(names.map((name) => [name, values[columns[name]] ?? "..."]));
  const body = JSON.stringify({ rows: [row] }).replaceAll("'", "\\u0027");
  return `curl -H 'Content-Type: application/json' -d '${body}' ${address}`;
}
function resolve(schema, document_) {
  return schema.$ref ? document_.components.schemas[schema.$ref.split("/").pop()] : schema;
}

"use strict";
const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
fetch("/openapi.json").then((answer) => answer.json()).then((document_) => {
  const place = document.getElementById("routes");
  for (const [path, verbs] of Object.entries(document_.paths)) {
    for (const [verb, route] of Object.entries(verbs)) {
      place.append(make("h2", `${verb.toUpperCase()} ${path}`), make("p", route.description || route.summary || ""));
      const body = route.requestBody && Object.values(route.requestBody.content)[0].schema;
      if (body) place.append(make("pre", JSON.stringify(resolve(body, document_), null, 1)));
    }
  }
  place.append(make("h2", "curl"), make("pre",
    `curl -H 'Content-Type: application/json' -d '{"rows": [{"field": "value"}]}' ${location.origin}/v1/predict`));
});
function resolve(schema, document_) {
  return schema.$ref ? document_.components.schemas[schema.$ref.split("/").pop()] : schema;
}

// What a person gives, by kind of column, and how answers are shown: the parts that the renderers of the tasks are made of.
// An input is {node, read()}: read gives the cell's JSON value, or throws Refused with a sentence.
import { Refused, button, complain, count, el, number, post, spark, t } from "./base.js";
import { bars } from "./plot.js";

const base64 = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => reject(new Refused(t("The file could not be read.")));
  reader.readAsDataURL(blob);
});
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// -- inputs by kind
function text(name, value, facts) {
  const node = el("textarea", { rows: facts.rows ?? 4, placeholder: facts.placeholder ?? "" });
  node.value = value ?? "";
  return { node, read: async () => (node.value === "" ? null : node.value) };
}
function line(name, value, facts) {
  const id = `choices-${facts.place}`;
  const node = el("input", { type: "text", list: facts.choices?.length && id, inputmode: facts.numeric && "decimal", placeholder: facts.placeholder ?? "" });
  node.value = value ?? "";
  const list = facts.choices?.length ? el("datalist", { id }, facts.choices.map((choice) => el("option", { value: choice }))) : null;
  return { node, beside: list, read: async () => (node.value.trim() === "" ? null : node.value) };
}
function series(name, value) {
  const node = el("textarea", { rows: 3, placeholder: "[0.1, 0.2, …]" }), drawn = el("div.preview");
  // as few digits as tell one 32-bit number from its neighbours
  node.value = value ? JSON.stringify(value, (_, one) => (typeof one === "number" ? [6, 7, 8].map((digits) => Number(one.toPrecision(digits))).find((short) => Math.fround(short) === Math.fround(one)) ?? one : one)) : "";
  const draw = () => { let found = []; try { found = JSON.parse(node.value).map((one) => (Array.isArray(one) ? one[0] : one)).filter(Number.isFinite); } catch { /* it is being written */ } drawn.replaceChildren(found.length > 1 ? spark(found, name) : ""); };
  node.addEventListener("input", draw);
  draw();
  return { node, beside: drawn, read: async () => {
    if (!node.value.trim()) return null;
    try { return JSON.parse(node.value); } catch { throw new Refused(t("{name} takes a list of numbers such as [0.1, 0.2].", { name })); }
  } };
}

// A picture or film that this browser cannot show (PGM, TIFF, AVI …) is drawn by the studio, which reads what the model reads.
async function drawnByServer(node, blob, kind) {
  let found = {};
  try { found = await post("api/thumbnail", { base64: await base64(blob), kind }); } catch { /* then it is not shown */ }
  if (!found.source) { node.replaceWith(el("p.soft", {}, t("This file cannot be shown here."))); return; }
  const picture = kind === "image" ? node : el("img.strip", { alt: node.getAttribute("aria-label") ?? "" });
  picture.dataset.width = found.width;
  picture.dataset.height = found.height;
  picture.src = found.source;
  if (picture !== node) node.replaceWith(picture);
}
export function shownPicture(blob, alt) {
  const node = el("img", { alt });
  node.addEventListener("load", () => node.classList.toggle("tiny", (node.dataset.width ?? node.naturalWidth) < 96));
  node.addEventListener("error", () => drawnByServer(node, blob, "image"), { once: true });
  node.src = URL.createObjectURL(blob);
  return node;
}
export const blobOf = (cell) => new Blob([bytes(cell.base64)]);

// A file that is dropped, chosen, or made here: the picture from the camera, the sound from the microphone; a film is dropped or chosen.
const TYPES = { image: "image/*", audio: "audio/*", video: "video/*,image/gif,.mkv" };
function media(name, value, kind) {
  let file = null;
  const preview = el("div.preview");
  const chooser = el("input.hidden", { type: "file", accept: TYPES[kind], tabindex: -1, "aria-label": name, onchange: () => chooser.files[0] && take(chooser.files[0]) });
  const zone = el("div.drop.small", { role: "group", "aria-label": name }, preview, el("p", {}, { image: t("Drop a picture here, or"), audio: t("Drop a sound here, or"), video: t("Drop a film here, or") }[kind]),
    el("p.row", {}, button(t("Choose a file"), async () => chooser.click(), ".plain"), kind === "image" ? button(t("Take a picture"), () => camera(preview, take), ".plain") : kind === "audio" && recorder(take)), chooser);
  function take(found) {
    off(preview.querySelector("video")?.srcObject);
    file = found;
    const address = URL.createObjectURL(found);
    const shown = kind === "image" || found.type === "image/gif" ? shownPicture(found, found.name ?? name) : el(kind, { src: address, controls: true, "aria-label": found.name ?? name });
    if (kind === "video" && shown.tagName === "VIDEO") shown.addEventListener("error", () => drawnByServer(shown, found, "video"));
    preview.replaceChildren(shown, ...(found.name ? [el("p.soft", {}, found.name)] : []));
  }
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); zone.classList.remove("over"); if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]); });
  if (value?.base64) { const found = bytes(value.base64); take(new Blob([found], { type: kind === "image" ? picture(found) : kind === "audio" ? "audio/wav" : found[0] === 0x47 ? "image/gif" : found[0] === 0x1a ? "video/webm" : "video/mp4" })); }
  return { node: zone, wide: true, take, read: async () => (file ? { base64: await base64(file) } : null) };
}
const picture = (found) => (found[0] === 0xff ? "image/jpeg" : found[0] === 0x47 ? "image/gif" : found[0] === 0x52 ? "image/webp" : found[0] === 0x42 ? "image/bmp" : "image/png");

// A camera or microphone is off once what it is for is done, or its place on the page is gone.
const off = (stream) => stream?.getTracks().forEach((track) => track.stop());
function offWith(node, stream) { const timer = setInterval(() => { if (node.isConnected && stream.active) return; clearInterval(timer); off(stream); }, 300); }
async function camera(preview, take) {
  let stream;
  off(preview.querySelector("video")?.srcObject); // it was on already
  try { stream = await navigator.mediaDevices.getUserMedia({ video: true }); } catch { throw new Refused(t("The camera may not be used. Allow it in the browser, or choose a file.")); }
  offWith(preview, stream);
  const video = el("video", { autoplay: true, playsinline: true, "aria-label": t("Camera") });
  video.muted = true;
  video.srcObject = stream;
  await new Promise((resolve) => video.addEventListener("loadeddata", resolve, { once: true }));
  preview.replaceChildren(video, button(t("Take it"), async () => {
    const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    off(stream);
    take(await new Promise((resolve) => canvas.toBlob(resolve, "image/png")));
  }));
}

function recorder(take) {
  let going = null;
  const node = button(t("Record"), async () => {
    if (going) { going.stop(); return; }
    let stream;
    try { stream = await navigator.mediaDevices.getUserMedia({ audio: true }); } catch { throw new Refused(t("The microphone may not be used. Allow it in the browser, or choose a file.")); }
    const parts = [];
    offWith(node, stream);
    going = new MediaRecorder(stream);
    going.ondataavailable = (event) => parts.push(event.data);
    going.onstop = () => {
      off(stream);
      going = null;
      node.textContent = t("Record");
      wav(new Blob(parts)).then(take).catch(() => complain(new Refused(t("The recording could not be read."))));
    };
    going.start();
    node.textContent = t("Stop recording");
  }, ".plain");
  return node;
}
// One channel of 16-bit samples at 16 kHz, as every reader of sounds understands it.
export async function wav(blob, rate = 16000) {
  const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await blob.arrayBuffer());
  const context = new OfflineAudioContext(1, Math.max(1, Math.ceil(decoded.duration * rate)), rate);
  const source = context.createBufferSource();
  source.buffer = decoded;
  source.connect(context.destination);
  source.start();
  const samples = (await context.startRendering()).getChannelData(0), view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const write = (place, letters) => [...letters].forEach((letter, offset) => view.setUint8(place + offset, letter.charCodeAt(0)));
  write(0, "RIFF"); view.setUint32(4, 36 + samples.length * 2, true); write(8, "WAVEfmt "); view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, rate * 2, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true); write(36, "data"); view.setUint32(40, samples.length * 2, true);
  samples.forEach((sample, place) => view.setInt16(44 + place * 2, Math.max(-1, Math.min(1, sample)) * 32767, true));
  return new File([view], "recording.wav", { type: "audio/wav" });
}

const KINDS = {
  text, category: line, date: (name, value, facts) => line(name, value, { ...facts, placeholder: "2024-05-31" }), number: (name, value, facts) => line(name, value, { ...facts, numeric: true }),
  series, image: (name, value) => media(name, value, "image"), audio: (name, value) => media(name, value, "audio"), video: (name, value) => media(name, value, "video"),
};
const MOST_SHOWN = 18;
const WIDE = ["text", "image", "audio", "video", "series"];
export const field = (name, kind, value, facts = {}) => (KINDS[kind] ?? line)(name, value, facts);

// -- input renderers: (run, example) -> {node, read()} where read gives a row
export function row(run, example = {}) {
  const fields = Object.entries(run.columns).map(([name, kind], place) => [name, kind, field(name, kind, example[name], { choices: run.choices?.[name], place })]);
  const shown = fields.map(([name, kind, one]) => el(`${one.wide ? "div" : "label"}.field${WIDE.includes(kind) ? ".wide" : ""}`, {}, el("span.name", {}, name), one.node, one.beside));
  // of a wide table the first fields, the others folded away: the button to ask stays in sight
  const first = el("div.fields", {}, shown.length > MOST_SHOWN ? shown.splice(0, MOST_SHOWN) : shown.splice(0));
  const node = shown.length ? el("div", {}, first, el("details", {}, el("summary", {}, t("{count} more fields", { count: count(shown.length) })), el("div.fields", {}, shown))) : first;
  return { node, read: async () => {
    const found = {};
    for (const [name, , one] of fields) found[name] = await one.read();
    if (!run.empty && Object.values(found).every((value) => value === null)) throw new Refused(t("Fill in at least one field."));
    return found;
  } };
}
// A box to begin a text in; an empty one is allowed.
export const prompt = (run, example = {}) => row({ ...run, empty: true }, Object.fromEntries(Object.entries(example).map(([name, value]) => [name, typeof value === "string" && value.length > 60 ? value.slice(0, 60).replace(/\s+\S*$/, "") : value])));

// -- answer renderers: (answer, asked, run) -> node
const plain = (value) => (Array.isArray(value) ? value.map(plain).join(", ") || t("none") : typeof value === "number" ? number(value, 6) : value && typeof value === "object" ? Object.entries(value).map(([name, part]) => `${name} ${plain(part)}`).join(" · ") : String(value ?? "—"));
export { bars };
export const shares = (found) => {
  const order = Object.entries(found).sort((a, b) => b[1] - a[1]);
  return bars(order.map(([name]) => name), order.map(([, share]) => share), t("Probabilities"), (share) => `${(100 * share).toFixed(1)} %`, 1);
};
const SHOWN = ["prediction", "confidence", "probabilities", "low", "high", "words"];
const rest = (answer, shown = SHOWN) => Object.entries(answer).filter(([name]) => !shown.includes(name)).map(([name, value]) => el("p.soft", {}, `${name.replaceAll("_", " ")}: ${plain(value)}`));
const sure = (answer) => (typeof answer.confidence === "number" ? el("p.soft", {}, t("Confidence {share} %", { share: (100 * answer.confidence).toFixed(1) })) : null);

export const any = (answer) => el("div", {}, el("p.prediction", {}, answer.prediction === "" ? t("(nothing was written)") : plain(answer.prediction ?? answer)), sure(answer), "prediction" in answer && rest(answer));
export function classes(answer) {
  const flat = answer.probabilities && Object.values(answer.probabilities).every((share) => typeof share === "number");
  const several = answer.probabilities && !flat && Object.entries(answer.probabilities).map(([name, found]) => [el("h3", {}, name), shares(found)]);
  return el("div", {}, el("p.prediction", {}, plain(answer.prediction)), sure(answer), flat && shares(answer.probabilities), several, rest(answer));
}
export function amount(answer) {
  const range = answer.low !== undefined && el("p.soft", {}, t("Nine times out of ten between {low} and {high}.", { low: plain(answer.low), high: plain(answer.high) }));
  return el("div", {}, el("p.prediction", {}, plain(answer.prediction)), range, rest(answer));
}
export const heard = (answer) => el("div", {}, el("p.prediction", {}, answer.prediction || t("(nothing was heard)")), sure(answer), rest(answer));
// What was begun, and what the model wrote on from it.
export function written(answer, asked) {
  const begun = Object.values(asked).find((value) => typeof value === "string") ?? "";
  return el("div", {}, el("p.written", {}, el("span.begun", {}, begun), String(answer.prediction ?? "")), sure(answer), rest(answer));
}


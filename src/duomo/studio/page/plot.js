// The few pictures that the rooms need, drawn as SVG in the page's own colours.
import { el, number, t } from "./base.js";

const W = 520, H = 240, L = 54, R = 12, T = 12, B = 34;

export function ticks(low, high, wanted = 4) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 2.5, 5, 10].find((factor) => raw <= power * factor + 1e-12) ?? 10);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}
const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
const write = (x, y, text, anchor = "middle") => { const node = document.createElementNS("http://www.w3.org/2000/svg", "text"); node.setAttribute("x", x); node.setAttribute("y", y); node.setAttribute("text-anchor", anchor); node.textContent = text; return node; };

function frame(xs, ys, xLabel, label) {
  let [x0, x1] = extent(xs), [y0, y1] = extent(ys);
  if (!(x1 > x0)) { x0 -= 0.5; x1 += 0.5; }
  if (!(y1 > y0)) { const room = Math.abs(y0) * 0.1 || 0.5; y0 -= room; y1 += room; }
  const x = (value) => L + ((value - x0) / (x1 - x0)) * (W - L - R);
  const y = (value) => H - B - ((value - y0) / (y1 - y0)) * (H - T - B);
  const grid = [
    ...ticks(y0, y1).map((value) => el("g", {}, el("line.grid", { x1: L, x2: W - R, y1: y(value), y2: y(value) }), write(L - 7, y(value) + 4, number(value, 3), "end"))),
    ...ticks(x0, x1, 5).map((value) => write(x(value), H - B + 17, number(value, 4))),
    write((L + W - R) / 2, H - 3, t(xLabel ?? "")),
  ];
  return { x, y, box: [x0, x1, y0, y1], node: el("svg.plot", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label }, grid) };
}
const known = (points) => points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
const thinned = (points, most = 600) => (points.length <= most ? points : points.filter((_, place) => place % Math.ceil(points.length / most) === 0 || place === points.length - 1));

// lines: {name: [[x, y], …]}
export function curves(lines, xLabel, label, diagonal = false) {
  const shown = Object.entries(lines).map(([name, points]) => [name, thinned(known(points))]).filter(([, points]) => points.length);
  const all = shown.flatMap(([, points]) => points);
  if (!all.length) return el("p.soft", {}, t("Nothing to draw yet."));
  const { x, y, box, node } = frame(all.map(([a]) => a), all.map(([, b]) => b), xLabel, label);
  if (diagonal) { const low = Math.max(box[0], box[2]), high = Math.min(box[1], box[3]); node.append(el("line.diagonal", { x1: x(low), y1: y(low), x2: x(high), y2: y(high) })); }
  shown.forEach(([name, points], place) => {
    const path = points.length > 1 ? el(`path.c${(place % 5) + 1}`, { d: `M${points.map(([a, b]) => `${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("L")}` }) : null;
    node.append(...[path, ...(points.length < 25 ? points.map(([a, b]) => el(`circle.c${(place % 5) + 1}`, { cx: x(a), cy: y(b), r: 3 }, el("title", {}, `${name} ${number(b)}`))) : [])].filter(Boolean));
  });
  return el("div", {}, node, shown.length > 1 && el("p.legend", {}, shown.map(([name], place) => el(`span.k${(place % 5) + 1}`, {}, t(name)))));
}
function points(data, label) {
  const all = known(data.x.map((value, place) => [value, data.y[place]]));
  if (!all.length) return el("p.soft", {}, t("Nothing to draw yet."));
  const { x, y, box, node } = frame(all.map(([a]) => a), all.map(([, b]) => b), data.x_label, label);
  if (data.diagonal) { const low = Math.max(box[0], box[2]), high = Math.min(box[1], box[3]); node.append(el("line.diagonal", { x1: x(low), y1: y(low), x2: x(high), y2: y(high) })); }
  node.append(...thinned(all, 900).map(([a, b]) => el("circle.dot", { cx: x(a).toFixed(1), cy: y(b).toFixed(1), r: 2.4 })));
  return node;
}
export function bars(labels, values, label, shown = (value) => number(value, 3), most = 0) {
  const top = most || Math.max(...values.map(Math.abs), 1e-12);
  return el("ul.bars", { "aria-label": label }, labels.map((name, place) =>
    el("li", {}, el("span.name", { title: String(name) }, String(name)), el("span.track", {}, bar(Math.abs(values[place]) / top)), el("span.value", {}, shown(values[place])))));
}
export const bar = (share, tone = "") => el(`svg.bar${tone}`, { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, el("rect", { x: 0, y: 0, height: 8, width: Math.max(0, Math.min(100, share * 100)), rx: 1 }));
export function histogram(chart, label) {
  const top = Math.max(...chart.values, 1), wide = 200 / chart.values.length;
  const low = chart.labels?.[0] ?? number(chart.edges[0], 4), high = chart.labels?.at(-1) ?? number(chart.edges.at(-1), 4);
  return el("div.histogram", {}, el("svg", { viewBox: "0 0 200 52", preserveAspectRatio: "none", role: "img", "aria-label": label }, chart.values.map((value, place) =>
    el("rect", { x: (place * wide + 0.4).toFixed(2), width: Math.max(0.5, wide - 0.8).toFixed(2), y: 52 - (50 * value) / top, height: (50 * value) / top }))),
  el("p.ends", {}, [low, high].map((end) => el("span", {}, String(end).replace(/ 00:00(:00)?$/, "")))));
}
function matrix(data, label) {
  const rows = data.rows.slice(0, 30), columns = data.columns.slice(0, 30);
  return el("div.scroll", { tabindex: 0, role: "region", "aria-label": label }, el("table.matrix", {},
    el("thead", {}, el("tr", {}, el("td", {}), columns.map((name) => el("th", { scope: "col" }, String(name))))),
    el("tbody", {}, rows.map((name, r) => { const sum = Math.max(1e-9, ...data.values[r]); return el("tr", {}, el("th", { scope: "row" }, String(name)),
      columns.map((_, c) => el(`td.h${Math.round((9 * data.values[r][c]) / sum)}`, {}, number(data.values[r][c], 3)))); }))));
}
// An interval around a figure on a common axis, for rows of a table.
export function whisker(found, low, high) {
  const at = (value) => 2 + (96 * (value - low)) / (high - low || 1);
  return el("svg.whisker", { viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" },
    low < 0 && high > 0 && el("line.zero", { x1: at(0), x2: at(0), y1: 0, y2: 14 }), typeof found.low === "number" && el("line", { x1: at(found.low), x2: at(found.high), y1: 7, y2: 7 }),
    el("rect", { x: at(found.value) - 0.8, width: 1.6, y: 2, height: 10 }));
}
// A `View` of core/contract.py.
export function view(found) {
  const data = found.data, draw = {
    bars: () => bars(data.labels.slice(0, 24), data.values.slice(0, 24), found.title),
    histogram: () => histogram(data, found.title),
    matrix: () => matrix(data, found.title),
    curve: () => curves(Object.fromEntries(Object.entries(data.lines).map(([name, ys]) => [name, ys.map((y, place) => [data.x[place], y])])), data.x_label, found.title, data.diagonal),
    points: () => points(data, found.title),
    pictures: () => el("div", {}, data.rows.slice(0, 12).map((row) => [el("p.soft", {}, row.title), el("p.faces", {}, row.sources.map((source) => el("img", { src: source, alt: "", loading: "lazy" })))])),
    texts: () => el("dl.texts", {}, data.items.slice(0, 12).map((item) => [el("dt", {}, item.title), el("dd", {}, item.text)])),
  }[found.kind];
  return el("section.card", {}, el("h3", {}, t(found.title)), draw ? draw() : "", found.note && el("p.note", {}, t(found.note)));
}

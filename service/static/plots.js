/* The plots. No scattergl, splom or parcoords: they compile code, which the page's CSP forbids. */
import { isDark, isNarrow, svg, token } from "./dom.js";
import { change, number, parameter, withUnit } from "./words.js";

const CROWD = 1500; // more dominated points than this are drawn as one image
const VIRIDIS = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"];
const CONFIG = {
  displaylogo: false, showTips: false, responsive: true, displayModeBar: "hover", doubleClick: false,
  modeBarButtonsToRemove: ["autoScale2d", "resetScale2d", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d"],
};

/** An objective's value of a point as shown: per cent for accuracy. */
export const shown = (objective, point) => point.values[objective.key] * objective.scale;
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");

/** The points no other point beats on both axes, from the best x to the worst. */
export function pairFront(points, { x, y }) {
  const gain = (objective) => (point) => objective.sign * point.values[objective.key];
  const [gainX, gainY] = [gain(x), gain(y)];
  let best = -Infinity;
  return [...points].sort((a, b) => gainX(b) - gainX(a) || gainY(b) - gainY(a)).filter((point) => {
    const isOn = gainY(point) > best;
    if (isOn) best = gainY(point);
    return isOn;
  });
}

/** Range and scale of an axis from the points that matter: {low, high, log}. */
export function rangeOf(objective, points) {
  const values = points.map((point) => shown(objective, point));
  const low = Math.min(...values), high = Math.max(...values);
  const log = !objective.points && low > 0 && high / low > 20;
  const [better, worse] = [0.1, 0.16], [below, above] = objective.sign > 0 ? [worse, better] : [better, worse];
  if (log) return { log, low: low * (low / high) ** below, high: high * (high / low) ** above };
  const span = high - low || Math.abs(high) * 0.2 || 1, top = high + above * span;
  return { log, low: Math.max(0, low - below * span), high: objective.points ? Math.min(top, 101) : top };
}

const onAxis = (range, value) => (range.log ? Math.log10(value) : value);
const endsOf = (range) => [onAxis(range, range.low), onAxis(range, range.high)];
const share = (at, [low, high]) => (at - low) / (high - low);

/** Ticks at 1-2-5 of each decade, or plain round steps where fewer than three of them fit. */
function logTicks(low, high) {
  const values = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade++) {
    for (const step of [1, 2, 5]) values.push(step * 10 ** decade);
  }
  const inside = values.filter((value) => value >= low && value <= high);
  const ticks = inside.length >= 3 ? inside : evenTicks(low, high);
  return { tickvals: ticks, ticktext: ticks.map((tick) => (tick < 1 ? String(Number(tick.toPrecision(3))) : number(tick))) };
}

function evenTicks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power, ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(tick);
  return ticks;
}

const frame = () => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, separators: ".\u202f",
  font: { family: token("font"), color: token("ink"), size: 12 },
  modebar: { bgcolor: "rgba(0,0,0,0)", color: token("muted"), activecolor: token("ink") },
  hoverlabel: { bgcolor: token("card"), bordercolor: token("line"), align: "left", font: { color: token("ink"), family: token("font"), size: 12 } },
});
const bare = () => ({
  gridcolor: token("grid"), linecolor: token("line"), zeroline: false, ticks: "outside", tickcolor: token("line"),
  tickfont: { size: 12, color: token("muted") }, exponentformat: "none", separatethousands: true,
});
const titled = (text) => ({ text, font: { size: 12, color: token("muted") }, standoff: 8 });

function axis(objective, range, view) {
  const direction = `${objective.sign > 0 ? "higher" : "lower"} is better`;
  const ticks = range.log ? logTicks(10 ** view[0], 10 ** view[1]) : { nticks: isNarrow() ? 5 : 8 };
  const title = titled(isNarrow() ? objective.axis : `${objective.axis}  ·  ${direction}`);
  return { ...bare(), ...ticks, title, type: range.log ? "log" : "linear", range: view };
}

/** The words that appear over a point: every objective with its change, then the parameters. */
function hoverText(point, objectives) {
  const lines = objectives.map((objective) => {
    const words = change(objective, point.vs_baseline?.[objective.key]);
    return withUnit(objective, point.values[objective.key]) + (words ? `  ${words.text}${words.times ? ` (${words.times})` : ""}` : "");
  });
  const parameters = Object.entries(point.params).map(([key, value]) => `${plain(parameter(key))} ${plain(number(value))}`);
  while (parameters.length) lines.push(parameters.splice(0, 3).join("  ·  "));
  if (point.accelerator_chosen) lines.push(coresOf(point.accelerator_chosen));
  return [`#${point.trial}`, ...lines].join("<br>");
}

/** The words over an accelerator that a trial tried and did not report. */
function builtText(point, objectives) {
  const parts = `${number(point.luts)} LUTs  ·  ${number(point.bram36)} BRAM36  ·  ${number(point.dsp)} DSPs`;
  const values = objectives.map((objective) => withUnit(objective, point.values[objective.key]));
  return [`#${point.trial} on another accelerator`, ...values, coresOf(point), parts].join("<br>");
}

const coresOf = ({ neural_cores }) => `cores ${neural_cores.join(" ")}`;

/** The accelerators of a study's trials that no trial reported. */
export const others = (hardware) => hardware.filter((point) => !point.chosen);

/** Corners of the step line, which goes on to `far` at the worst x. */
function stepLine(points, { x, y }, far) {
  const line = [];
  for (const point of points) {
    if (line.length) line.push([shown(x, point), line.at(-1)[1]]);
    line.push([shown(x, point), shown(y, point)]);
  }
  return [...line, [far.x, line.at(-1)[1]]];
}

/** Far beyond the worst end of an axis, where the dominated region is closed. */
function beyond(objective, range) {
  if (range.log) return objective.sign > 0 ? range.low / 1e3 : range.high * 1e3;
  const span = range.high - range.low;
  return objective.sign > 0 ? range.low - 20 * span : range.high + 20 * span;
}

const column = (pairs, index) => pairs.map((pair) => pair[index]);
const markers = (points, { x, y }, marker, more = {}) => ({
  type: "scatter", mode: "markers", customdata: points.map((point) => point.trial), marker,
  x: points.map((point) => shown(x, point)), y: points.map((point) => shown(y, point)), ...more,
});

function regionTraces({ onPair, layers, axes, ranges }) {
  if (!onPair.length || !layers.front) return [];
  const far = { x: beyond(axes.x, ranges.x), y: beyond(axes.y, ranges.y) };
  const line = stepLine(onPair, axes, far), region = [[line[0][0], far.y], ...line, [far.x, far.y]];
  const both = { type: "scatter", mode: "lines", hoverinfo: "skip" };
  return [
    { ...both, x: column(region, 0), y: column(region, 1), fill: "toself", fillcolor: token("shade"), line: { width: 0 } },
    { ...both, x: column(line, 0), y: column(line, 1), line: { color: token("front"), width: 1.6 } },
  ];
}

/** Viridis with its dark end away from the ground. */
const viridis = () => (isDark() ? VIRIDIS.slice(1) : [...VIRIDIS].reverse()).map((colour, index, all) => [index / (all.length - 1), colour]);

/** Colours of points by the third objective, on its own scale. */
function colouring({ third, thirdRange }, points) {
  if (!third) return { color: token("front") };
  const ends = endsOf(thirdRange), isFlat = ends[0] === ends[1];
  const at = (point) => (isFlat ? 0.5 : share(onAxis(thirdRange, shown(third, point)), ends));
  return { color: points.map(at), colorscale: viridis(), cmin: 0, cmax: 1 };
}

function frontTraces(model) {
  const { objectives, axes, onPair, front, layers } = model, others = front.filter((point) => !onPair.includes(point));
  const words = (points) => ({ text: points.map((point) => hoverText(point, objectives)), hovertemplate: "%{text}<extra></extra>" });
  const traces = [];
  if (layers.all && others.length) traces.push(markers(others, axes, { size: 7, ...colouring(model, others), line: { width: 0.8, color: token("card") } }, words(others)));
  if (layers.front && onPair.length) traces.push(markers(onPair, axes, { size: 10.5, ...colouring(model, onPair), line: { width: 1.5, color: token("ink") } }, words(onPair)));
  return traces;
}

/** What the trials' other accelerators add: a small triangle each, and the front of this pair with them, dashed. */
function hardwareTraces(model) {
  const { objectives, axes, ranges, hardware } = model, onPair = pairFront(hardware, axes), all = others(hardware);
  if (!all.length) return [];
  const added = all.length > CROWD ? others(onPair) : all;
  const far = { x: beyond(axes.x, ranges.x), y: beyond(axes.y, ranges.y) }, line = stepLine(onPair, axes, far);
  const words = { text: added.map((point) => builtText(point, objectives)), hovertemplate: "%{text}<extra></extra>" };
  return [
    { type: "scatter", mode: "lines", hoverinfo: "skip", x: column(line, 0), y: column(line, 1), line: { color: token("front"), width: 1.2, dash: "dash" } },
    markers(added, axes, { size: 8, symbol: "triangle-up", ...colouring(model, added), line: { width: 0.8, color: token("muted") } }, words),
  ];
}

function besideTraces({ axes, layers, infeasible }, visible) {
  const words = { hovertemplate: "#%{customdata}<extra></extra>" }, color = token("dominated"), traces = [];
  if (layers.cloud && visible.length <= CROWD) traces.push(markers(visible, axes, { size: 4.6, color, opacity: 0.45 }, words));
  if (layers.infeasible) traces.push(markers(infeasible, axes, { size: 6, symbol: "x-thin-open", color, opacity: 0.75 }, words));
  return traces;
}

function markTraces({ baseline, selected, axes }) {
  const diamond = { size: 12, symbol: "diamond", color: token("ink"), line: { width: 1.5, color: token("card") } };
  const ring = { size: 18, symbol: "circle-open", color: token("selected"), line: { width: 2.5 } };
  return [
    ...(baseline ? [markers([baseline], axes, diamond, { hovertemplate: "baseline<extra></extra>" })] : []),
    ...(selected ? [markers([selected], axes, ring, { hoverinfo: "skip" })] : []),
  ];
}

/** The dominated points as one picture in axis coordinates: thousands of SVG nodes would be slow. */
function cloudImage(points, { axes, ranges }, view, width, height) {
  const zoom = Math.min(2, devicePixelRatio || 1) * 1.25;
  const canvas = Object.assign(document.createElement("canvas"), { width: width * zoom, height: height * zoom });
  const pen = Object.assign(canvas.getContext("2d"), { fillStyle: token("dominated"), globalAlpha: points.length > 4000 ? 0.3 : 0.42 });
  for (const point of points) {
    const x = share(onAxis(ranges.x, shown(axes.x, point)), view.x), y = 1 - share(onAxis(ranges.y, shown(axes.y, point)), view.y);
    pen.beginPath();
    pen.arc(x * width * zoom, y * height * zoom, 1.9 * zoom, 0, 2 * Math.PI);
    pen.fill();
  }
  const [[left, right], [low, high]] = [view.x, view.y];
  return { source: canvas.toDataURL(), xref: "x", yref: "y", x: left, y: high, sizex: right - left, sizey: high - low, sizing: "stretch", layer: "below" };
}

function baselineShapes(baseline, { x, y }) {
  const dotted = { type: "line", layer: "below", line: { color: token("muted"), width: 1, dash: "dot" } };
  const [atX, atY] = [shown(x, baseline), shown(y, baseline)];
  return [{ ...dotted, x0: atX, x1: atX, yref: "paper", y0: 0, y1: 1 }, { ...dotted, y0: atY, y1: atY, xref: "paper", x0: 0, x1: 1 }];
}

const note = (more) => ({ showarrow: false, font: { size: 12, color: token("muted") }, bgcolor: token("card"), borderpad: 2, ...more });

/** A small word in the corner where both axes are best. */
function idealNote({ x, y }) {
  const right = x.sign > 0, up = y.sign > 0, arrow = up ? (right ? "↗" : "↖") : right ? "↘" : "↙";
  return note({
    xref: "paper", yref: "paper", x: right ? 0.992 : 0.008, y: up ? 0.985 : 0.015, xanchor: right ? "right" : "left",
    yanchor: up ? "top" : "bottom", text: right ? `ideal ${arrow}` : `${arrow} ideal`, bgcolor: "rgba(0,0,0,0)",
  });
}

/** The label of the selected point, over the dominated region where there is room. */
function selectedNote({ selected, axes, ranges }, view) {
  const told = [axes.y, axes.x].flatMap((objective) => {
    const words = change(objective, selected.vs_baseline?.[objective.key]);
    return words ? [`${words.text.slice(2)} ${objective.name === "FPS/W" ? objective.name : objective.name.toLowerCase()}`] : [];
  });
  const x = onAxis(ranges.x, shown(axes.x, selected)), y = onAxis(ranges.y, shown(axes.y, selected));
  const isRight = share(x, view.x) > 0.55, isHigh = share(y, view.y) > 0.25 && (axes.y.sign > 0 || share(y, view.y) > 0.75);
  return {
    x, y, text: isNarrow() || !told.length ? `#${selected.trial}` : `#${selected.trial}   ${told.join(",  ")}`, showarrow: true, arrowhead: 0,
    arrowwidth: 1.2, arrowcolor: token("selected"), ax: isRight ? -34 : 38, ay: isHigh ? 50 : -46, standoff: 10,
    xanchor: isRight ? "right" : "left", font: { size: 12.5, color: token("selected") }, bgcolor: token("card"),
    bordercolor: token("selected"), borderwidth: 1, borderpad: 4,
  };
}

/**
 * Draw the Pareto plot.
 *
 * `model`: front, onPair, hardware, cloud, infeasible (points), baseline, selected (a point or null), axes {x, y}, third with thirdRange
 * or null, objectives, layers, ranges {x, y}, zoom {x, y} in axis coordinates or null, study.
 */
export function drawPareto(node, model) {
  const { axes, ranges, baseline, selected } = model, view = model.zoom ?? { x: endsOf(ranges.x), y: endsOf(ranges.y) };
  const isSeen = (point) => ["x", "y"].every((key) => { const at = share(onAxis(ranges[key], shown(axes[key], point)), view[key]); return at >= 0 && at <= 1; });
  const visible = model.cloud.length > CROWD ? model.cloud.filter(isSeen) : model.cloud, isCrowded = model.layers.cloud && visible.length > CROWD;
  const margin = isNarrow() ? { l: 46, r: 8, t: 6, b: 44 } : { l: 60, r: 14, t: 10, b: 48 };
  const size = [node.clientWidth - margin.l - margin.r, node.clientHeight - margin.t - margin.b];
  const annotations = [idealNote(axes)];
  if (baseline && isSeen(baseline)) annotations.push(note({ x: onAxis(ranges.x, shown(axes.x, baseline)), y: 0, yref: "paper", text: "baseline", xanchor: "left", yanchor: "bottom", xshift: 4 }));
  if (selected && isSeen(selected)) annotations.push(selectedNote(model, view));
  const layout = {
    ...frame(), margin, annotations, hovermode: "closest", dragmode: isNarrow() ? false : "zoom",
    xaxis: axis(axes.x, ranges.x, view.x), yaxis: axis(axes.y, ranges.y, view.y),
    shapes: baseline ? baselineShapes(baseline, axes) : [], images: isCrowded ? [cloudImage(visible, model, view, ...size)] : [],
  };
  const traces = [...regionTraces(model), ...besideTraces(model, visible), ...hardwareTraces(model), ...frontTraces(model), ...markTraces(model)];
  return window.Plotly.react(node, traces, layout, { ...CONFIG, toImageButtonOptions: { scale: 2, filename: `${model.study}-front` } });
}

/** How many points lie outside the axes. */
export function countOutside(points, axes, ranges) {
  const isOutside = (key) => (point) => { const value = shown(axes[key], point); return value < ranges[key].low || value > ranges[key].high; };
  return points.filter((point) => isOutside("x")(point) || isOutside("y")(point)).length;
}

/** The finding in words, for those who do not see the plot. */
export function finding(onPair, { x, y }) {
  if (!onPair.length) return "No point on the front yet.";
  const ends = [onPair[0], onPair.at(-1)].map((point) => `${withUnit(y, point.values[y.key])} at ${withUnit(x, point.values[x.key])}`);
  return `The front of ${y.name} and ${x.name} has ${onPair.length} points, from ${ends.join(" to ")}.`;
}

/** Paths of a step line and the area below it; none below two steps. */
export function sparkPaths(steps, width = 120, height = 26) {
  if (steps.length < 2) return [];
  const [last, low, high] = [steps.at(-1)[0], steps[0][1], steps.at(-1)[1]], rise = high - low || 1;
  const at = ([finished, volume]) => [(width * finished) / last, height - 2 - ((height - 5) * (volume - low)) / rise].map((value) => value.toFixed(1));
  const line = steps.map(at).map(([x, y], index) => (index ? `H${x}V${y}` : `M${x} ${y}`)).join("");
  return [svg("path", { class: "below", d: `${line}V${height}H${at(steps[0])[0]}Z` }), svg("path", { d: line })];
}

/** Hypervolume over finished trials, from one step on; the last value holds up to now. */
export function drawHypervolume(node, steps, finished, study) {
  const points = [...steps, [Math.max(finished, steps.at(-1)[0]), steps.at(-1)[1]]];
  const values = column(points, 1), low = Math.min(...values), high = Math.max(...values), room = (high - low) * 0.12 || high * 0.1 || 1;
  const trace = {
    type: "scatter", mode: "lines", x: column(points, 0), y: values, fill: "tozeroy", fillcolor: token("front-soft"),
    line: { color: token("front"), width: 2, shape: "hv" }, hovertemplate: "%{x} trials finished: %{y:.4f}<extra></extra>",
  };
  const layout = {
    ...frame(), margin: { l: isNarrow() ? 46 : 60, r: 14, t: 8, b: 42 }, hovermode: "x", dragmode: false,
    xaxis: { ...bare(), title: titled("trials finished"), range: [0, Math.max(1, finished)] },
    yaxis: { ...bare(), title: titled(isNarrow() ? "" : "hypervolume  ·  higher is better"), range: [Math.max(0, low - room), high + room], nticks: 5 },
  };
  return window.Plotly.react(node, [trace], layout, { displayModeBar: false, responsive: true, toImageButtonOptions: { filename: `${study}-hypervolume` } });
}

/* The study page: what is selected, what the server sends, and who draws what. */
import { $, isNarrow, localTimes, say } from "./dom.js";
import { addEvents, card, ended, head, inOrder, layers, markRow, reveal, running, table, tiles } from "./panels.js";
import { countOutside, drawHypervolume, drawPareto, finding, others, pairFront, rangeOf, shown } from "./plots.js";
import { amount, change, duration, number, withUnit } from "./words.js";

const data = $("study").dataset, study = data.study, api = `/v1/studies/${encodeURIComponent(study)}`;
const objectives = JSON.parse(data.objectives);
const pairs = objectives.flatMap((first, index) => objectives.slice(index + 1).map((second) => (first.key === "accuracy" ? { x: second, y: first } : { x: first, y: second })));
const TRIALS_EVERY_MS = 5000, RETRY_MS = 5000;

const state = {
  status: null, front: { front: [], baseline: null }, trials: [], hardware: [], earlier: new Map(),
  pair: Number(data.pair), selected: data.selected === "" ? null : Number(data.selected), sort: data.sort, ascending: data.ascending === "true",
  layers: { front: true, all: true, hardware: true, cloud: true, infeasible: false }, zoom: null, everything: false, ranges: null,
};

/** Keep pair, selection and sort in the address, so that a link or a reload shows the same. */
function remember() {
  const address = new URLSearchParams({ pair: state.pair, sort: state.sort, dir: state.ascending ? "asc" : "desc" });
  if (state.selected !== null) address.set("sel", state.selected);
  history.replaceState(null, "", `?${address}`);
}

/* ---- points ---- */

/** A trial beside the front in the form of a front point. */
function asPoint(trial) {
  const base = state.front.baseline?.values;
  const delta = ({ key, points }) => 100 * (points ? trial.values[key] - base[key] : trial.values[key] / base[key] - 1);
  return { ...trial, vs_baseline: base ? Object.fromEntries(objectives.map((objective) => [objective.key, delta(objective)])) : null };
}

/** The selected point wherever it is: on the front, beside it, or on the front until a moment ago. */
function selectedPoint() {
  const onFront = state.front.front.find((point) => point.trial === state.selected);
  if (onFront) return { ...onFront, tag: "on the front" };
  const trial = state.trials.find((trial) => trial.trial === state.selected && trial.values);
  if (trial) return { ...asPoint(trial), tag: trial.feasible ? "dominated" : "breaks a constraint" };
  const before = state.earlier.get(state.selected);
  return before ? { ...before, tag: "dominated" } : null;
}

/** Trial of the point nearest to the ideal corner, measured in ranks; null for an empty front. */
function knee(points) {
  const distance = new Map(points.map((point) => [point.trial, 0]));
  for (const { key, sign } of objectives) {
    const ranked = [...points].sort((a, b) => sign * (b.values[key] - a.values[key]));
    ranked.forEach(({ trial }, rank) => distance.set(trial, distance.get(trial) + (rank / points.length) ** 2));
  }
  return [...points].sort((a, b) => distance.get(a.trial) - distance.get(b.trial) || a.trial - b.trial)[0]?.trial ?? null;
}

/* ---- drawing ---- */

let isDue = false;
function draw() {
  if (isDue || !window.Plotly) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; pareto(); });
}

function pareto() {
  const axes = pairs[state.pair], { front, baseline } = state.front, onPair = pairFront(front, axes);
  const matter = baseline ? [...front, baseline] : front;
  say($("finding"), finding(onPair, axes));
  $("nothing").hidden = front.length > 0;
  $("plot").querySelector(".skeleton")?.remove();
  const isOn = new Set(front.map((point) => point.trial)), scored = state.trials.filter((trial) => trial.values);
  const cloud = scored.filter((trial) => trial.feasible && !isOn.has(trial.trial)), infeasible = scored.filter((trial) => !trial.feasible);
  const hardware = state.layers.hardware ? state.hardware : [];
  const inRange = [...matter, ...hardware, ...(front.length ? [] : infeasible)];
  if (!inRange.length) return; // no value to draw axes from; the words say what is awaited
  keepRanges(axes, inRange, cloud);
  const third = objectives.find((objective) => objective !== axes.x && objective !== axes.y) ?? null, thirdRange = third && exactRange(third, front.length ? front : inRange);
  const selected = state.selected === null ? null : selectedPoint();
  const { layers, ranges, zoom } = state;
  drawPareto($("plot"), { front, onPair, hardware, cloud, infeasible, baseline, selected, axes, third, thirdRange, objectives, layers, ranges, zoom, study }).then(bind);
  $("unzoom").hidden = !zoom;
  showColours(third, thirdRange, front);
  showOutside(countOutside(cloud, axes, rangesOf(axes, inRange)));
}

const rangesOf = (axes, points) => ({ x: rangeOf(axes.x, points), y: rangeOf(axes.y, points) });

/** The axes stay where they are until a point of the front falls outside. */
function keepRanges(axes, matter, cloud) {
  if (state.ranges && !countOutside(matter, axes, state.ranges)) return;
  state.ranges = rangesOf(axes, state.everything ? [...matter, ...cloud] : matter);
}

/** Range of the colours: exactly from the least to the largest value. */
function exactRange(objective, points) {
  const values = points.map((point) => shown(objective, point)), low = Math.min(...values), high = Math.max(...values);
  return { low, high, log: low > 0 && high / low > 20 };
}

function showColours(third, range, front) {
  $("colours").hidden = !third || front.length < 2;
  if ($("colours").hidden) return;
  const as = { scale: 1 };
  say($("colour-name"), third.name);
  say($("colour-low"), amount(as, range.low));
  say($("colour-high"), amount(as, range.high) + (third.unit ? ` ${third.unit}` : ""));
}

function showLayer(layer, is) {
  state.layers[layer] = is;
  document.querySelector(`[data-layer="${layer}"]`).setAttribute("aria-pressed", is);
  draw();
}

function showOutside(count) {
  $("outside").hidden = count === 0;
  $("outside").setAttribute("aria-pressed", state.everything);
  say($("outside"), state.everything ? "front's range only" : `${number(count)} outside · show`);
}

function bind(node) {
  if (node.dataset.bound) return;
  node.dataset.bound = "yes";
  node.on("plotly_click", (event) => { const trial = event.points[0]?.customdata; if (trial !== undefined) select(trial); });
  node.on("plotly_doubleclick", () => zoomTo(null));
  node.on("plotly_relayout", (event) => {
    if (Object.keys(event).some((key) => /^[xy]axis\.range/.test(key))) zoomTo({ x: [...node.layout.xaxis.range], y: [...node.layout.yaxis.range] });
  });
}

function zoomTo(zoom) {
  state.zoom = zoom;
  draw();
}

let isHypervolumeSeen = false;
function hypervolume() {
  if (!isHypervolumeSeen || !window.Plotly || !state.status) return;
  const { hypervolume_steps: steps } = state.status, node = $("hv");
  $("hv-none").hidden = steps.length > 0;
  node.hidden = steps.length === 0;
  if (node.hidden) return;
  node.querySelector(".skeleton")?.remove();
  node.setAttribute("aria-label", `Hypervolume rose from ${number(steps[0][1])} to ${number(steps.at(-1)[1])}`);
  drawHypervolume(node, steps, ended(state.status), study);
}

/* ---- selection, views, sort ---- */

function select(trial) {
  state.selected = trial;
  const point = selectedPoint();
  if (!point) return;
  card(point, objectives);
  const row = markRow(trial);
  if (row) reveal(row);
  remember();
  draw();
  showHardware(trial);
  say($("say"), `Trial ${trial}, ${point.tag}: ${objectives.map((objective) => spoken(objective, point)).join("; ")}`);
}

function spoken(objective, point) {
  const words = change(objective, point.vs_baseline?.[objective.key]);
  return `${objective.name} ${withUnit(objective, point.values[objective.key])}${words ? `, ${words.spoken}` : ""}`;
}

const reports = new Map();
async function showHardware(trial) {
  if (!reports.has(trial)) reports.set(trial, json(`${api}/trials/${trial}`).then((found) => found.details ?? null));
  const found = await reports.get(trial).catch(() => { reports.delete(trial); return null; });
  if (state.selected === trial) layers(found);
}

function view(pair) {
  if (pair < 0 || pair >= pairs.length) return;
  Object.assign(state, { pair, zoom: null, ranges: null });
  for (const button of $("pairs").children) {
    const isOn = Number(button.dataset.pair) === pair;
    button.setAttribute("aria-checked", isOn);
    button.tabIndex = isOn ? 0 : -1;
  }
  remember();
  draw();
}

function sortBy(key) {
  const isLowBest = objectives.find((objective) => objective.key === key)?.sign !== 1;
  state.ascending = key === state.sort ? !state.ascending : isLowBest;
  state.sort = key;
  remember();
  showTable();
}

const showTable = () => table(state.front.front, objectives, state, Boolean(state.front.baseline));

function walk(points, way) {
  const at = points.findIndex((point) => point.trial === state.selected);
  const to = { next: at + 1, previous: Math.max(0, at - 1), first: 0, last: points.length - 1 }[way];
  if (points.length) select(points[Math.min(points.length - 1, to)].trial);
}

/* ---- what the server sends ---- */

async function json(path, options) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, ...options });
  if (!answer.ok) throw await answer.json().catch(() => ({ detail: `the server answered ${answer.status}` }));
  return answer.json();
}

function showStatus(status) {
  const before = state.status;
  state.status = status;
  head(status);
  tiles(status);
  running(status);
  waiting(status);
  if (!before || ended(before) !== ended(status)) hypervolume();
  if (before && ended(before) !== ended(status)) fetchTrials();
}

/** What is awaited while the front is empty: said by the server once, kept true here. */
function waiting({ trials, running }) {
  const training = running.filter((lease) => lease.task === "train" && !lease.expired).length;
  if (trials.complete && !trials.feasible) noneFeasible();
  else if (!trials.complete) say($("nothing-words"), training ? `No trial is complete yet; ${training} running.` : "No trial is complete yet. The first point shows up here when one is.");
}

let isNoneTold = false; // the crosses come on by themselves once, then they are the reader's
function noneFeasible() {
  const complete = state.trials.filter((trial) => trial.state === "complete"), broken = new Map();
  if (!complete.length) return;
  if (!isNoneTold) showLayer("infeasible", (isNoneTold = true));
  const missed = (trial) => Object.values(trial.constraints).reduce((sum, value) => sum + Math.max(0, value), 0);
  for (const [key, value] of complete.flatMap((trial) => Object.entries(trial.constraints))) if (value > 0) broken.set(key, (broken.get(key) ?? 0) + 1);
  const [worst, count] = [...broken].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
  const nearest = complete.reduce((best, trial) => (missed(trial) < missed(best) ? trial : best));
  say($("nothing-words"), `None of the ${number(complete.length)} complete trials keeps every constraint. “${worst}” is broken by ${number(count)} of them; trial ${nearest.trial} misses by the least.`);
}

function showFront(front) {
  if (JSON.stringify(front) === JSON.stringify(state.front)) return;
  for (const point of state.front.front) state.earlier.set(point.trial, point);
  const isFirst = !state.front.front.length;
  if (isFirst) state.ranges = null;
  state.front = front;
  showTable();
  if (front.reference) say($("hv-reference"), `reference ${objectives.map((objective) => withUnit(objective, front.reference[objective.key])).join(", ")}`);
  state.selected ??= knee(front.front);
  const point = state.selected === null ? null : selectedPoint();
  if (point) {
    card(point, objectives);
    const row = markRow(state.selected);
    if (row && isFirst) reveal(row);
    showHardware(state.selected);
  }
  draw();
}

/** All trials, for the points beside the front: rarely, and never two requests at once. */
let isFetching = false, isStale = false;
async function fetchTrials() {
  isStale = true;
  if (isFetching) return;
  isFetching = true;
  while (isStale) {
    isStale = false;
    const began = performance.now();
    state.trials = await json(`${api}/trials`).catch(() => state.trials);
    if ("hardware" in data) await fetchHardware();
    if (state.status) waiting(state.status);
    draw();
    await new Promise((done) => setTimeout(done, Math.max(TRIALS_EVERY_MS, 20 * (performance.now() - began))));
  }
  isFetching = false;
}

/** All that trials found worth building; asked for with the trials, as it is much longer than the front. */
async function fetchHardware() {
  state.hardware = await json(`${api}/front`).then((found) => found.hardware_front, () => state.hardware);
  say($("others"), `${number(others(state.hardware).length)} other accelerators`);
}

let source = null, changedAt = Date.now(), isLost = false;
function connect() {
  source?.close();
  if (document.hidden) return;
  source = new EventSource(`${api}/stream`);
  source.addEventListener("open", () => lost(false));
  source.addEventListener("status", (message) => {
    const { status, front, events } = JSON.parse(message.data);
    changedAt = Date.now();
    showFront(front);
    showStatus(status);
    addEvents(events);
    lost(false);
  });
  source.addEventListener("error", () => {
    lost(true);
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  });
}

function lost(is) {
  isLost = is;
  for (const button of [$("stop"), $("resume")]) button.disabled = is;
  $("lost").hidden = !is;
  freshness();
}

function freshness() {
  const ago = duration((Date.now() - changedAt) / 1000);
  say($("l-updated"), isLost ? "" : `live · last change ${ago} ago`);
  if (isLost) say($("lost"), `The server does not answer; what you see is ${ago} old. Trying again; Stop and Resume are off until then.`);
}

async function act(verb) {
  const refused = $("refused");
  refused.hidden = $(verb).disabled = true;
  try {
    await json(`${api}/${verb}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
    showStatus(await json(api));
    say($("say"), `The study is ${state.status.state}.`);
  } catch (problem) {
    say(refused, problem.detail ?? problem.title ?? "the server does not answer; try again");
    refused.hidden = false;
  }
  $(verb).disabled = isLost;
}

/* ---- wiring ---- */

const WAYS = { ArrowRight: "next", ArrowLeft: "previous", Home: "first", End: "last" };
const ROW_WAYS = { ArrowDown: "next", ArrowUp: "previous", Home: "first", End: "last" };
const VIEW_WAYS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

$("pairs").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) view(Number(button.dataset.pair));
});
$("pairs").addEventListener("keydown", (event) => {
  if (!(event.key in VIEW_WAYS)) return;
  event.preventDefault();
  view((state.pair + VIEW_WAYS[event.key] + pairs.length) % pairs.length);
  $("pairs").children[state.pair].focus();
});
$("plotbox").addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const { x } = pairs[state.pair];
  if (/^[1-9]$/.test(event.key)) view(Number(event.key) - 1);
  if (!(event.key in WAYS)) return;
  event.preventDefault();
  walk([...state.front.front].sort((a, b) => a.values[x.key] - b.values[x.key] || a.trial - b.trial), WAYS[event.key]);
});
$("table").addEventListener("click", (event) => {
  const sort = event.target.closest("button[data-sort]"), row = event.target.closest("tbody tr");
  if (sort) sortBy(sort.dataset.sort);
  else if (row) select(Number(row.dataset.trial));
});
$("table").tBodies[0].addEventListener("keydown", (event) => {
  if (!(event.key in ROW_WAYS)) return;
  event.preventDefault();
  walk(inOrder(state.front.front, state.sort, state.ascending), ROW_WAYS[event.key]);
  markRow(state.selected)?.querySelector(".pick").focus({ preventScroll: true });
});
$("legend").addEventListener("click", (event) => {
  const button = event.target.closest("button"), layer = button?.dataset.layer;
  if (!button) return;
  showLayer(layer, !state.layers[layer]);
});
$("outside").addEventListener("click", () => {
  Object.assign(state, { everything: !state.everything, ranges: null, zoom: null });
  draw();
});
$("unzoom").addEventListener("click", () => {
  zoomTo(null);
  $("plotbox").focus({ preventScroll: true });
});
$("stop").addEventListener("click", () => act("stop"));
$("resume").addEventListener("click", () => act("resume"));
$("copy").addEventListener("click", async () => {
  remember();
  await navigator.clipboard.writeText(location.href);
  say($("copy"), "Copied");
  setTimeout(() => say($("copy"), "Copy link"), 2000);
});
document.addEventListener("themechange", () => { draw(); hypervolume(); });
document.addEventListener("visibilitychange", () => (document.hidden ? source?.close() : connect()));

let wasNarrow = isNarrow();
addEventListener("resize", () => {
  if (wasNarrow === isNarrow()) return;
  wasNarrow = isNarrow();
  draw();
  hypervolume();
});
$("plotlyjs").addEventListener("load", () => { draw(); hypervolume(); });
new IntersectionObserver((entries, observer) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  isHypervolumeSeen = true;
  hypervolume();
}, { rootMargin: "160px" }).observe($("hv-card"));

localTimes();
setInterval(freshness, 1000);
Promise.all([json(`${api}/front`), json(api)]).then(([front, status]) => { showFront(front); showStatus(status); connect(); }, connect);
fetchTrials();

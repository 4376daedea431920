/* The words of the study page: tiles, table, card, running trials, events. The server has filled them in once already. */
import { $, bar, chip, el, localTimes, say } from "./dom.js";
import { sparkPaths } from "./plots.js";
import { UNKNOWN, amount, clock, duration, number, parameter, unitOf } from "./words.js";

const EVENTS_KEPT = 40;
const CAUSES = ["fetch", "compress", "accumulate", "activate", "hand_over", "wait"];
const CHOSEN_BY = { min_latency: "the least latency", max_fps_per_watt: "the most FPS/W" };
const STATES = ["complete", "stopped", "failed", "running"];
const NO_BASELINE = "known once trial 0, the baseline, is complete: its values set the reference point";
const NO_ESTIMATE = "no estimate: it needs a finished trial, a worker and a budget of trials";

/** How many trials have ended, in whatever way. */
export const ended = ({ trials }) => trials.complete + trials.stopped + trials.failed;

export function tiles(status) {
  const { trials } = status;
  say($("k-done"), number(ended(status)));
  say($("k-asked"), trials.asked ? `of ${number(trials.asked)}` : "finished");
  say($("k-states"), `${number(trials.complete)} complete · ${number(trials.stopped)} stopped early · ${number(trials.failed)} failed`);
  trialsBar(trials);
  say($("k-front"), number(status.front_size));
  say($("k-feasible"), `of ${number(trials.feasible)} feasible trials`);
  say($("k-hv"), number(status.hypervolume));
  $("k-hv").title = status.hypervolume === null ? NO_BASELINE : String(status.hypervolume);
  $("k-spark").replaceChildren(...sparkPaths(status.hypervolume_steps));
  workers(status.running);
  timeLeft(status);
}

function trialsBar(trials) {
  const whole = Math.max(trials.asked ?? 0, trials.created, 1);
  const words = `${trials.complete} complete, ${trials.stopped} stopped early, ${trials.failed} failed, ${trials.running} running, of ${whole}`;
  $("k-bar").replaceChildren(bar(STATES.map((kind) => [kind, trials[kind]]), whole, { role: "img", "aria-label": words }));
}

function workers(running) {
  const alive = running.filter((lease) => !lease.expired), expired = running.length - alive.length;
  const count = (task) => alive.filter((lease) => lease.task === task).length;
  say($("k-workers"), String(new Set(alive.map((lease) => lease.worker)).size));
  say($("k-leases"), `${count("train")} training · ${count("test")} testing${expired ? ` · ${expired} expired` : ""}`);
}

function timeLeft(status) {
  const isKnown = status.eta_s !== null && status.state === "running";
  say($("k-eta"), status.state === "complete" ? "done" : isKnown ? duration(status.eta_s) : UNKNOWN);
  $("k-eta").title = isKnown || status.state === "complete" ? "" : NO_ESTIMATE;
  say($("k-ends"), isKnown && status.eta_s < 20 * 3600 ? ` · ends about ${clock(Date.now() + status.eta_s * 1000)}` : "");
}

/** State, reason, and which buttons there are. */
export function head(status) {
  const pill = $("state").firstElementChild;
  pill.className = `pill ${status.state}`;
  say(pill.lastElementChild, status.state);
  document.title = `${status.study} · ${status.state} · spikefront`;
  $("stop").hidden = status.state !== "running";
  $("resume").hidden = !["paused", "stopped"].includes(status.state);
  $("reason").hidden = ["running", "complete"].includes(status.state) || !status.reason;
  say($("reason"), `${status.state}: ${status.reason}`);
}

export function running(status) {
  $("running").replaceChildren(...status.running.map(runningRow));
  $("l-empty").hidden = status.running.length > 0;
  say($("l-empty"), status.state === "running" ? "No worker has a trial now." : `Nothing runs: the study is ${status.state}.`);
}

function runningRow(lease) {
  const words = lease.task === "test" ? "test scores" : `epoch ${lease.epoch ?? 0}${lease.epochs ? `/${lease.epochs}` : ""}`;
  const more = [lease.worker, lease.attempt > 1 && `attempt ${lease.attempt}`, lease.expired && "lease expired"].filter(Boolean);
  const progress = bar([["complete", lease.epoch ?? 0]], lease.epochs || 1, { "aria-hidden": "true" });
  const accuracy = lease.accuracy === null ? UNKNOWN : `${amount({ scale: 100 }, lease.accuracy)} %`;
  const at = el("div", { className: "at" }, el("span", {}, words), " ", el("small", {}, `· ${more.join(" · ")}`), progress);
  return el("li", { className: lease.expired ? "expired" : "" }, el("b", {}, `#${lease.trial}`), at, el("span", { className: "r" }, accuracy));
}

/** Put new events on top; those already there are left alone. */
export function addEvents(events) {
  const list = $("events"), newest = Math.max(0, ...[...list.children].map((row) => Number(row.dataset.event)));
  for (const event of events.filter((event) => event.event_id > newest)) {
    const row = el("li", {}, el("time", { dateTime: event.at }), el("span", {}, event.message));
    Object.assign(row.dataset, { event: event.event_id, kind: event.kind });
    list.prepend(row);
  }
  while (list.children.length > EVENTS_KEPT) list.lastElementChild.remove();
  localTimes(list);
}

/* ---- the table of the front ---- */

export function inOrder(points, sort, ascending) {
  const value = (point) => (sort === "trial" ? point.trial : (point.values[sort] ?? point.params[sort]));
  const way = ascending ? 1 : -1, isKnown = (point) => value(point) !== undefined && value(point) !== null;
  const compare = (a, b) => (typeof a === "string") - (typeof b === "string") || (a < b ? -1 : a > b ? 1 : 0);
  const known = points.filter(isKnown).sort((a, b) => way * compare(value(a), value(b)) || a.trial - b.trial);
  return [...known, ...points.filter((point) => !isKnown(point))];
}

export function table(points, objectives, { sort, ascending, selected }, hasBaseline) {
  const parameters = [...new Set(points.flatMap((point) => Object.keys(point.params)))].sort();
  headings(objectives, parameters, sort, ascending);
  rows(inOrder(points, sort, ascending).map((point) => tableRow(point, objectives, parameters)));
  say($("t-note"), `${points.length} points${hasBaseline ? ", change against the baseline" : ""}`);
  $("t-empty").hidden = points.length > 0;
  markRow(selected);
}

/** Bring the table's body to these rows; a row that says the same stays the node it is, with focus and scroll. */
function rows(wanted) {
  const body = $("table").tBodies[0], old = new Map([...body.rows].map((row) => [row.dataset.trial, row]));
  const words = (row) => [...row.cells].map((cell) => cell.textContent.trim()).join("|"), isFirst = old.size === 0;
  wanted.forEach((made, index) => {
    const kept = old.get(made.dataset.trial), row = kept && words(kept) === words(made) ? kept : made;
    if (!kept && !isFirst) row.classList.add("new");
    if (kept && row !== kept) kept.replaceWith(row);
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
    old.delete(made.dataset.trial);
  });
  for (const gone of old.values()) gone.remove();
}

function headings(objectives, parameters, sort, ascending) {
  const row = $("table").tHead.rows[0], focused = row.contains(document.activeElement) ? document.activeElement.dataset.sort : null;
  const cell = (key, name, more = {}) => {
    const arrow = el("span", { className: "arrow", ariaHidden: "true" }, key !== sort ? "" : ascending ? "↑" : "↓");
    const button = el("button", { type: "button" }, name, arrow), heading = el("th", { scope: "col", ...more }, button);
    button.dataset.sort = key;
    if (key === sort) heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    return heading;
  };
  row.replaceChildren(
    cell("trial", "#", { className: "txt" }),
    ...objectives.map((objective) => cell(objective.key, objective.name + (objective.unit ? `, ${objective.unit}` : ""))),
    ...parameters.map((key) => cell(key, parameter(key), { className: "p", title: key })),
  );
  if (focused !== null) [...row.querySelectorAll("button")].find((button) => button.dataset.sort === focused)?.focus({ preventScroll: true });
}

function tableRow(point, objectives, parameters) {
  const pick = el("button", { type: "button", className: "pick", tabIndex: -1 }, `#${point.trial}`);
  const row = el("tr", {}, el("th", { scope: "row", className: "txt" }, pick));
  row.dataset.trial = point.trial;
  for (const objective of objectives) row.append(el("td", {}, amount(objective, point.values[objective.key]), " ", chip(objective, point.vs_baseline?.[objective.key])));
  for (const key of parameters) row.append(el("td", { className: "p" }, number(point.params[key])));
  return row;
}

/** Mark the selected row, and let Tab stop at it alone. */
export function markRow(selected) {
  const rows = [...$("table").tBodies[0].rows], chosen = rows.find((row) => Number(row.dataset.trial) === selected);
  for (const row of rows) {
    row.classList.toggle("on", row === chosen);
    if (row === chosen) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    row.querySelector(".pick").tabIndex = row === (chosen ?? rows[0]) ? 0 : -1;
  }
  return chosen;
}

/** Bring a row into sight inside its own box; the page itself does not move. */
export function reveal(row) {
  const box = $("t-scroll"), top = row.offsetTop - $("table").tHead.offsetHeight, bottom = row.offsetTop + row.offsetHeight;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
}

/* ---- the card of the selected point ---- */

export function card(point, objectives) {
  say($("c-number"), `#${point.trial}`);
  say($("c-tag"), point.tag);
  $("c-values").replaceChildren(...objectives.map((objective) => valueOf(point, objective)));
  $("c-extra").replaceChildren(
    ...extra("on the test set", point.test, objectives),
    ...extra("same network on the baseline's accelerator", point.on_baseline_accelerator, objectives),
  );
  const entries = Object.entries(point.params);
  $("c-params").replaceChildren(...entries.map(([key, value]) => el("div", {}, el("dt", { title: key }, parameter(key)), el("dd", { title: String(value) }, number(value)))));
}

function valueOf(point, objective) {
  const value = point.values[objective.key], unit = objective.unit ? el("small", {}, ` ${objective.unit}`) : null;
  const told = el("dd", { title: String(value * objective.scale) }, el("b", {}, amount(objective, value)), unit, chip(objective, point.vs_baseline?.[objective.key]));
  return el("div", {}, el("dt", {}, objective.name), told);
}

function extra(words, values, objectives) {
  if (!values) return [];
  const told = objectives.filter((objective) => objective.key in values).map((objective) => `${amount(objective, values[objective.key])} ${unitOf(objective)}`);
  return [el("dl", { className: "line" }, el("dt", {}, words), el("dd", {}, told.join(" · ")))];
}

/** The accelerator, and time by layer and cause, from the details of a trial; hidden where there are none. */
export function layers(details) {
  const hardware = details?.hardware;
  $("c-layers").hidden = !hardware;
  if (!hardware) return;
  say($("built"), built(hardware, details.hardware_search));
  const slowest = Math.max(...hardware.layers.map((layer) => layer.cycles)), spent = (layer, cause) => layer.causes[cause] ?? 0;
  const ms = (cycles) => `${amount({ scale: 1 }, (1000 * cycles) / hardware.clock_hz)} ms`;
  const used = CAUSES.filter((cause) => hardware.layers.some((layer) => spent(layer, cause) > 0));
  $("layers").replaceChildren(...hardware.layers.flatMap((layer) => {
    const told = used.map((cause) => `${words(cause)} ${ms(spent(layer, cause))}`), className = layer.cycles === slowest ? "slowest" : "";
    const parts = used.map((cause, index) => [cause, spent(layer, cause), `${layer.name}: ${told[index]}`]);
    return [el("span", { className }, layer.name), bar(parts, slowest, { role: "img", "aria-label": told.join(", ") }), el("span", { className }, ms(layer.cycles))];
  }));
  $("causes").replaceChildren(...used.map((cause) => el("span", {}, el("i", { className: cause, ariaHidden: "true" }), words(cause))));
}

const words = (cause) => cause.replace("_", " ");

/** The accelerator in a line; `search` says out of how many a trial chose it, and is missing where it had no choice. */
function built({ layers }, search) {
  const cores = `on cores ${layers.map((layer) => layer.cores).join(" ")}`;
  if (!search) return cores;
  if (search.shortage) return `${cores}: none of ${number(search.accelerators)} accelerators fits, this one needs least`;
  return `${cores}: ${CHOSEN_BY[search.report]} of ${number(search.accelerators)} accelerators`;
}

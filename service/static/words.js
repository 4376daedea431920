/* How numbers, changes and times read; says the same as routes/words.py on the server. */
const MINUS = "\u2212", NARROW_SPACE = "\u202f", NO_BREAK_SPACE = "\u00a0";
export const UNKNOWN = "\u2013";

const exponentOf = (value) => Number(value.toExponential(2).split("e")[1]);
const apart = (text) => {
  const [whole, part] = text.replace("-", MINUS).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, NARROW_SPACE) + (part === undefined ? "" : "." + part);
};
const threeDigits = (value) => apart(value.toFixed(Math.max(0, 2 - exponentOf(value))));

/** Three significant digits; whole numbers and words as they are; nothing reads as a dash. */
export function number(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return apart(String(value));
  if (exponentOf(value) < -4) return value.toExponential(2).replaceAll("-", MINUS);
  return threeDigits(value);
}

/** A value of an objective without its unit; `value` is as the API gives it. */
export function amount(objective, value) {
  if (value === null || value === undefined) return UNKNOWN;
  return value === 0 ? "0" : threeDigits(value * objective.scale);
}

export const unitOf = (objective) => objective.unit || objective.name;
export const withUnit = (objective, value) => `${amount(objective, value)} ${unitOf(objective)}`;

/** A change against the baseline: {text, times, kind, spoken}, or null with nothing to compare. */
export function change(objective, delta) {
  if (delta === null || delta === undefined) return null;
  const unit = objective.points ? "pt" : "%";
  if (Math.abs(delta) < 0.05) return { text: `\u25a0 \u00b10${NO_BREAK_SPACE}${unit}`, times: "", kind: "same", spoken: "as the baseline" };
  const digits = Math.abs(delta) >= 9.95 && !objective.points ? 0 : 1;
  const times = delta > 200 && !objective.points ? `${(1 + delta / 100).toFixed(1)}\u00d7` : "";
  const better = delta * objective.sign > 0;
  return {
    text: `${delta > 0 ? "\u25b2 +" : `\u25bc ${MINUS}`}${apart(Math.abs(delta).toFixed(digits))}${NO_BREAK_SPACE}${unit}`,
    times,
    kind: better ? "good" : "bad",
    spoken: better ? "better than the baseline" : "worse than the baseline",
  };
}

/** A duration in its two largest units. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const minutes = Math.round(seconds / 60), hours = Math.round(seconds / 3600);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (minutes < 60) return `${minutes} min`;
  if (hours < 48) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")}`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A parameter's heading without the part of its path that every reader knows. */
export const parameter = (name) => name.replace(/^accelerator\./, "").replace(/^train\./, "").replace("neural_cores", "cores").replace(/[_.]/g, " ");

/** Time of day in the reader's zone; the day for what is older. */
export function clock(at) {
  const date = new Date(at), isOld = Date.now() - date > 20 * 3600 * 1000;
  if (isOld) return date.toLocaleDateString([], { day: "numeric", month: "short" });
  return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
}

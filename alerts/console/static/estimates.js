// What the twin's models say of a patient: how sure each is and how old, and where one abstains.

import { el, renderIfChanged, setAttribute, setText } from "./elements.js";
import { clockTime, sentence, span } from "./format.js";
import { t } from "./words.js";

const UNITS = { "1": "", "/min": "/min", ms2: "ms²" };

/** [label, digits after the point, whether a share is shown in per cent] */
const KNOWN = {
  atrial_fibrillation_probability: ["Probability of atrial fibrillation", 0, true],
  atrial_fibrillation_burden: ["Share of time in atrial fibrillation", 1, true],
  mean_nn: ["Mean interval between beats (NN)", 0],
  sdnn: ["SDNN", 0],
  rmssd: ["RMSSD", 0],
  dfa_alpha1: ["DFA-alpha1", 2],
  lf: ["LF power", 0],
  hf: ["HF power", 0],
  lf_hf: ["LF/HF", 1],
  respiratory_rate_from_beats: ["Respiratory rate, from heartbeats", 0],
  heart_rate_expected: ["Heart rate that the load lets expect", 0],
  bradycardia_episodes: ["Bradycardia episodes in 24 h", 0],
  tachycardia_episodes: ["Tachycardia episodes at rest in 24 h", 0],
  pauses: ["Pauses over 2.5 s in 24 h", 0],
  longest_pause: ["Longest pause in 24 h", 1],
  ectopic_beats: ["Premature beats in 24 h", 0],
};

/** Standard deviations on each side of a 90 % interval. */
const HALF_WIDTH = 1.645;

function shown(name, estimate) {
  const [, digits, percent] = KNOWN[name] ?? ["", 2, false];
  const factor = percent ? 100 : 1;
  const text = (value) => (factor * value).toFixed(digits);
  const unit = percent ? "%" : (UNITS[estimate.unit] ?? estimate.unit);
  // A probability says itself how unsure it is.
  const interval = typeof estimate.sd === "number" && !percent ? t("({low} to {high})", { low: text(estimate.value - HALF_WIDTH * estimate.sd), high: text(estimate.value + HALF_WIDTH * estimate.sd) }) : "";
  return { value: unit ? `${text(estimate.value)}${unit === "/min" ? "" : "\u00a0"}${unit}` : text(estimate.value), interval };
}

function labelOf(name) {
  return KNOWN[name] ? t(KNOWN[name][0]) : sentence(name.replaceAll("_", " "));
}

/** Fills `host` with `estimates`, by name, as of `now` (Unix seconds). */
export function showEstimates(host, estimates, now) {
  const names = Object.keys(estimates ?? {}).sort((a, b) => order(a) - order(b) || a.localeCompare(b));
  renderIfChanged(host, JSON.stringify(names), () =>
    names.length
      ? [
          el("dl", { class: "others estimates" }, names.map((name) => el("div", { "data-estimate": name }, el("dt", {}, labelOf(name)), el("dd", { class: "value" }, el("span", { class: "number" }), el("span", { class: "interval" }), el("span", { class: "age" }))))),
          el("p", { class: "quiet" }, t("What models make of the values, with 90 % intervals. No alarm depends on them.")),
        ]
      : [el("p", { class: "quiet" }, t("None: no device has sent intervals between heartbeats."))],
  );
  for (const box of host.querySelectorAll("[data-estimate]")) {
    const estimate = estimates[box.dataset.estimate];
    const age = Math.max(0, now - estimate.t);
    const speaks = typeof estimate.value === "number";
    const old = age > (estimate.valid_s ?? Infinity);
    const { value, interval } = speaks ? shown(box.dataset.estimate, estimate) : { value: "–", interval: "" };
    setAttribute(box.lastElementChild, "data-state", speaks && !old ? "fresh" : "expired");
    setText(box.querySelector(".number"), old ? "–" : value);
    setText(box.querySelector(".interval"), old ? "" : interval);
    setText(box.querySelector(".age"), verdict(speaks, old, value, span(age)));
    setAttribute(box, "title", t("As of {time}", { time: clockTime(estimate.t) }));
  }
}

function verdict(speaks, old, value, age) {
  if (!speaks) return t("abstains: too few or too poor values");
  return old ? t("last {value}, {age}", { value, age: t("{span} old", { span: age }) }) : age;
}

function order(name) {
  const at = Object.keys(KNOWN).indexOf(name);
  return at < 0 ? Infinity : at;
}

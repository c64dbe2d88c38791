// How values, ages, times and priorities are put into words. Times are Unix seconds, shown in the reader's time zone.

import { language, t } from "./words.js";

export const PRIORITIES = ["none", "low", "medium", "high"];

const SIGNALS = {
  heart_rate: ["Heart rate", "/min", 0],
  spo2: ["SpO₂", "%", 0],
  respiratory_rate: ["Respiratory rate", "/min", 0],
  body_temperature: ["Temperature", "°C", 1],
  systolic_pressure: ["Systolic pressure", "mmHg", 0],
  diastolic_pressure: ["Diastolic pressure", "mmHg", 0],
  mean_pressure: ["Mean pressure", "mmHg", 0],
  consciousness: ["Consciousness", "", 0],
  supplemental_oxygen: ["Oxygen", "", 0],
  rr_ms: ["RR interval", "ms", 0],
  power_w: ["Power", "W", 0],
  speed_mps: ["Speed", "m/s", 1],
  grade_pct: ["Grade", "%", 1],
  cadence_per_min: ["Cadence", "/min", 0],
  steps: ["Steps", "", 0],
  skin_temperature: ["Skin temperature", "°C", 1],
  eda_us: ["Skin conductance", "µS", 2],
  body_weight: ["Weight", "kg", 1],
  glucose_mg_dl: ["Glucose", "mg/dL", 0],
  mood: ["Mood", "", 0],
  stress: ["Stress", "of 10", 0],
  rpe: ["Perceived exertion", "of 20", 0],
  symptom: ["Symptom", "", 0],
  battery_pct: ["Battery", "%", 0],
  news2_low: ["NEWS2", "", 0],
  news2_high: ["NEWS2", "", 0],
  news2_single: ["NEWS2, one parameter alone", "", 0],
  silence_s: ["Silence", "s", 0],
};

const CODES = {
  consciousness: ["Alert", "New confusion", "Responds to voice", "Responds to pain", "Unresponsive"],
  supplemental_oxygen: ["Room air", "On oxygen"],
};

export const PRIORITY_WORDS = { high: t("High"), medium: t("Medium"), low: t("Low"), none: t("Advice") };
export const PRIORITY_MARKS = { high: "!!!", medium: "!!", low: "!", none: "i" };

const known = new Map();
let channels = {};
let codeWords = {};

/** Asks for the registry of signals, and for what channels and codes are called. */
export async function learnSignals() {
  const body = await (await fetch("/api/signals")).json();
  for (const signal of body.signals) known.set(signal.name, signal);
  ({ channels, codes: codeWords } = body);
}

export function signalInfo(name) {
  return known.get(name) ?? { name, period_s: 60, validity_s: 3600, codes: {}, shape: "scalar" };
}

export function label(name) {
  return (SIGNALS[name] && t(SIGNALS[name][0])) ?? sentence(channels[name]?.[language] ?? name.replaceAll("_", " "));
}

export function unit(name) {
  return SIGNALS[name] ? t(SIGNALS[name][1]) : (channels[name]?.unit ?? "");
}

export function sentence(text) {
  return text ? text[0].toUpperCase() + text.slice(1) : text;
}

/** A sentence whose numbers keep their units beside them at a line's end. */
export function typeset(text) {
  return text.replace(/(\d) (?=%|mmHg|°C|s\b|min\b)/g, "$1\u00a0");
}

/** A value without its unit; an en dash where there is none. */
export function number(name, value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "string") return sentence(codeWords[`${name} ${value}`]?.[language] ?? value.replaceAll("_", " "));
  if (CODES[name]) return CODES[name][value] ? t(CODES[name][value]) : String(value);
  const codes = Object.entries(signalInfo(name).codes ?? {});
  const code = codes.find(([, index]) => index === value);
  if (code) return sentence(codeWords[`${name} ${code[0]}`]?.[language] ?? code[0].replaceAll("_", " "));
  return value.toFixed(SIGNALS[name]?.[2] ?? 1);
}

export function valueWithUnit(name, value) {
  const shown = number(name, value);
  return shown !== "–" && unit(name) && !CODES[name] ? `${shown} ${unit(name)}` : shown;
}

/** A span of seconds in its largest fitting unit: "8 s", "12 min", "3 h", "2 d". */
export function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 90) return t("{n} s", { n: Math.floor(s) });
  if (s < 5400) return t("{n} min", { n: Math.floor(s / 60) });
  if (s < 172800) return t("{n} h", { n: Math.floor(s / 3600) });
  return t("{n} d", { n: Math.floor(s / 86400) });
}

const clockFormat = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minuteFormat = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayFormat = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });

/** "21:43:05", with the day where it is not today. */
export function clockTime(at) {
  if (!at) return t("unknown");
  const date = new Date(at * 1000);
  const today = new Date().toDateString() === date.toDateString();
  return today ? clockFormat.format(date) : `${dayFormat.format(date)}, ${clockFormat.format(date)}`;
}

export function minuteTime(at) {
  return minuteFormat.format(new Date(at * 1000));
}

export function isoTime(at) {
  return at ? new Date(at * 1000).toISOString() : "";
}

/**
 * How old a value is and what that means: "fresh", "stale" (older than three of its periods: shown in grey with its
 * age) or "expired" (older than it may be used: not shown as a value any more).
 */
export function freshness(name, signal, now) {
  const { period_s: period, validity_s: validity } = signalInfo(name);
  const age = Math.max(0, now - signal.t);
  if (age > validity) return { state: "expired", age, text: t("{span} old", { span: span(age) }) };
  if (age > Math.max(3 * period, 15)) return { state: "stale", age, text: t("{span} old", { span: span(age) }) };
  return { state: "fresh", age, text: span(age) };
}

/** Signal quality in words and bars out of three. */
export function quality(q) {
  if (q === null || q === undefined) return { bars: 0, word: t("quality unknown") };
  if (q >= 0.8) return { bars: 3, word: t("good signal") };
  if (q >= 0.5) return { bars: 2, word: t("fair signal") };
  return { bars: 1, word: t("poor signal") };
}

/** NEWS2 as text: { shown, note, missing }. */
export function news2(score) {
  if (!score) return { shown: "–", note: t("no score"), missing: "" };
  if (score.applicable === false) return { shown: "–", note: score.reason ? sentence(t(score.reason)) : t("not applicable"), missing: "" };
  if (score.low === null || score.high === null || score.low === undefined || score.high === undefined) {
    return { shown: "–", note: t("not known"), missing: missingText(score.missing) };
  }
  const shown = score.low === score.high ? String(Math.round(score.low)) : `${Math.round(score.low)}–${Math.round(score.high)}`;
  const single = score.single ? t("a single 3") : "";
  return { shown, note: single, missing: missingText(score.missing) };
}

function missingText(missing) {
  if (!missing?.length) return "";
  return t("without {names}", { names: missing.map((name) => label(name)).map(lower).join(t(", ")) });
}

/** When a value was measured, and received: exactly, or by then at the latest. */
export function timesOf(signal) {
  const times = { measured: clockTime(signal.t), received: clockTime(signal.received_at) };
  return signal.exact ? t("Measured {measured}, received {received}", times) : t("Measured {measured}, received by {received}", times);
}

/** A page's title: whether it is live, how many high alerts stand, and what it shows. */
export function titleOf(urgent, text) {
  const live = document.body.dataset.connection === "live" ? "" : `${t("Not live")} · `;
  return `${live}${urgent ? `${t("({count} high)", { count: urgent })} ` : ""}${text} · BioTwin`;
}

function lower(text) {
  return text === "SpO₂" ? text : text[0].toLowerCase() + text.slice(1);
}

/** Band of a NEWS2 upper bound as the chart of the Royal College colours it. */
export function news2Band(score) {
  if (!score || score.applicable === false || score.high === null || score.high === undefined) return "unknown";
  if (score.high >= 7) return score.low >= 7 ? "high" : "high-possible";
  if (score.high >= 5 || score.single) return "medium";
  return score.high >= 1 ? "low" : "zero";
}

/** Bed and name as one speaks of a patient; the pseudonym where nothing else is known. */
export function spoken(row) {
  const parts = [row.bed && t("bed {bed}", { bed: row.bed }), row.name || row.patient].filter(Boolean);
  return row.patient === "" ? t("system") : parts.join(", ");
}

const ANSWERED = ["acknowledged", "alarm_off"];

/** Whether nobody has taken the alert or put it off. */
export function isUnanswered(alert) {
  return !ANSWERED.includes(alert.signal?.state);
}

/** How an alert's signal stands, in words; "" where nothing is known of it. */
export function signalWords(signal) {
  if (!signal) return "";
  const unanswered = signal.escalation ? t("nobody has answered, escalated {count}×", { count: signal.escalation }) : t("not acknowledged");
  const why = signal.reason ? `: ${signal.reason}` : "";
  const at = { who: signal.holder, why, since: minuteTime(signal.since), until: clockTime(signal.until) };
  switch (signal.state) {
    case "on":
      return unanswered;
    case "acknowledged":
      return t("acknowledged by {who}, {since}{why}", at);
    case "audio_paused":
      return t("audio paused by {who} until {until}", at);
    case "alarm_off":
      return t("off by {who} until {until}{why}", at);
    case "latched":
      return t("over, {unanswered}", { unanswered });
    case "latched_audio_paused":
      return t("over, {unanswered}; audio paused by {who} until {until}", { unanswered, ...at });
    default:
      return "";
  }
}

const SIGNAL_EVENTS = {
  condition_onset: "Announced",
  priority_raised: "More urgent, announced again",
  priority_lowered: "Less urgent",
  condition_cleared: "Condition over",
  condition_withdrawn: "Notice taken back",
  condition_recurred: "Came again as a new alert",
  condition_renamed: "Goes on under the settled id",
  acknowledge: "Acknowledged",
  audio_pause: "Audio paused",
  alarm_off: "Put off",
  alarm_resume: "Resumed",
  marked_useful: "Found useful",
  marked_not_useful: "Found not useful",
  inactivation_expired: "Pause over, announced again",
  re_alarm_due: "Still there, announced again",
  escalation_due: "Nobody answered, escalated",
};

/** One transition of a signal in words. */
export function actWords(act) {
  const word = (SIGNAL_EVENTS[act.event] && t(SIGNAL_EVENTS[act.event])) ?? sentence(act.event.replaceAll("_", " "));
  const who = act.actor === "system" ? "" : t(" by {who}", { who: act.actor });
  const until = act.until && ["audio_pause", "alarm_off"].includes(act.event) ? t(" until {until}", { until: clockTime(act.until) }) : "";
  return `${word}${who}${until}${act.refused ? t(": refused") : ""}`;
}

const TRANSITIONS = { onset: "Raised", update: "Updated", clear: "Cleared", withdrawn: "Withdrawn" };

/** What a transition was, in words: a settled onset after a provisional one is a confirmation. */
export function transitionWords(transition, before) {
  if (transition.transition === "onset" && transition.stage === "settled" && before.some((one) => one.stage === "provisional")) {
    return t("Confirmed");
  }
  const word = (TRANSITIONS[transition.transition] && t(TRANSITIONS[transition.transition])) ?? sentence(transition.transition);
  return transition.stage === "provisional" ? t("{word}, provisional", { word }) : word;
}

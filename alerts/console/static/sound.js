// Audible signals by priority, in the manner of IEC 60601-1-8. Pulses in a burst and the time between bursts are those of
// a bedside monitor (Edan X8: high 10 pulses about every 10 s, medium 3 about every 25 s, low about every 30 s). The
// console is no alarm system in the standard's sense, and its sounds were not measured against it.

import { el, setAttribute, setText } from "./elements.js";
import { PRIORITIES, PRIORITY_WORDS } from "./format.js";
import { announce } from "./live.js";
import { t } from "./words.js";

const STORED = "biotwin-sound";
const PULSE_S = { high: 0.15, medium: 0.2, low: 0.2 };
const SPACING_S = { high: 0.1, medium: 0.2, low: 0.2 };
export const REPEAT_S = { high: 10, medium: 25, low: 30 };
const HERTZ = { high: 660, medium: 523, low: 392 };
const HARMONICS = [0, 1, 0.7, 0.5, 0.4, 0.3];
const HEARD = ["on", "latched"];

/** Starts of the pulses of one burst in s. High: five pulses (three, a pause, two), said twice. */
export function burst(priority) {
  const step = PULSE_S[priority] + SPACING_S[priority];
  if (priority === "medium") return [0, step, 2 * step];
  if (priority === "low") return [0, step];
  const five = [0, step, 2 * step, 3 * step + step, 4 * step + step];
  return [...five, ...five.map((start) => start + 5 * step + 0.6)];
}

/** The priority to be heard: the highest of all alerts whose audible signal is on; "" where none is. */
export function heard(alerts) {
  const sounding = alerts.filter((alert) => HEARD.includes(alert.signal?.state)).map((alert) => alert.priority);
  return [...PRIORITIES].reverse().find((priority) => priority !== "none" && sounding.includes(priority)) ?? "";
}

let audio = null;
let priority = "";
let next = 0;
let state = null;
let status = null;
let playing = null;

function isOff() {
  try {
    return localStorage.getItem(STORED) === "off";
  } catch {
    return false;
  }
}

function play(which) {
  playing?.disconnect();
  playing = audio.createGain();
  playing.connect(audio.destination);
  const wave = audio.createPeriodicWave(new Float32Array(HARMONICS.length), new Float32Array(HARMONICS));
  const starts = burst(which);
  for (const start of starts) {
    const at = audio.currentTime + 0.05 + start;
    const tone = audio.createOscillator();
    const gain = audio.createGain();
    tone.setPeriodicWave(wave);
    tone.frequency.value = HERTZ[which];
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(0.4, at + 0.2 * PULSE_S[which]);
    gain.gain.setValueAtTime(0.4, at + 0.8 * PULSE_S[which]);
    gain.gain.linearRampToValueAtTime(0, at + PULSE_S[which]);
    tone.connect(gain).connect(playing);
    tone.start(at);
    tone.stop(at + PULSE_S[which]);
  }
  setAttribute(state, "data-played", which);
  setAttribute(state, "data-pulses", starts.length);
  setAttribute(state, "data-bursts", Number(state.dataset.bursts ?? 0) + 1);
}

function show() {
  const allowed = audio?.state === "running";
  const off = isOff();
  setAttribute(state, "data-sound", off ? "off" : allowed ? "ready" : "blocked");
  setAttribute(state, "data-heard", priority);
  setText(document.getElementById("sound-off"), off ? t("Switch sound on") : t("Switch sound off"));
  setText(status, off ? t("Sound is switched off here") : allowed ? "" : t("No sound yet: press the test button"));
}

function tick() {
  show();
  if (!priority || isOff() || audio?.state !== "running" || Date.now() < next) return;
  play(priority);
  next = Date.now() + REPEAT_S[priority] * 1000;
}

/** Takes all alerts that stand; what is heard changes at once, also in the middle of a burst. */
export function sound(alerts) {
  const wanted = heard(alerts);
  if (wanted !== priority) {
    playing?.disconnect();
    next = 0;
    priority = wanted;
  }
  tick();
}

async function test() {
  audio ??= new AudioContext();
  await audio.resume();
  play("medium");
  next = Math.max(next, Date.now() + 3000);
  const text = t("Test sound started: {priority} priority, {count} pulses. Did you hear it?", { priority: PRIORITY_WORDS.medium, count: burst("medium").length });
  setText(document.getElementById("sound-tested"), text);
  announce(text, "polite");
  show();
}

/** Puts the controls into `host`. */
export function startSound(host) {
  state = el(
    "p",
    { id: "sound" },
    el("button", { type: "button", class: "act", id: "sound-test" }, t("Test the alarm sound")),
    el("button", { type: "button", class: "act", id: "sound-off" }),
    el("strong", { id: "sound-status" }),
    el("span", { id: "sound-tested" }),
  );
  host.append(state);
  status = document.getElementById("sound-status");
  document.getElementById("sound-test").addEventListener("click", test);
  document.getElementById("sound-off").addEventListener("click", () => {
    localStorage.setItem(STORED, isOff() ? "on" : "off");
    playing?.disconnect();
    next = 0;
    tick();
  });
  // Browsers let a page sound only after the reader has done something on it.
  for (const deed of ["pointerdown", "keydown"]) {
    addEventListener(deed, async () => {
      audio ??= new AudioContext();
      await audio.resume();
      tick();
    }, { capture: true });
  }
  setInterval(tick, 500);
  show();
}

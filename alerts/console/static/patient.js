// One patient: what is wrong and why, the values behind it, and how they came to be.

import { actButtons, feedbackButtons, startActing } from "./acts.js";
import { Chart } from "./chart.js";
import { el, priorityMark, qualityBars, renderIfChanged, setAttribute, setText } from "./elements.js";
import {
  PRIORITY_MARKS, PRIORITY_WORDS, actWords, clockTime, freshness, label, learnSignals, news2, news2Band, number, quality,
  sentence, signalInfo, signalWords, span, spoken, timesOf, titleOf, transitionWords, typeset, unit, valueWithUnit,
} from "./format.js";
import { showEstimates } from "./estimates.js";
import { evidence, onsetsOf } from "./evidence.js";
import { LIMITS, startLimits } from "./limits.js";
import { Live, announceAlert, announceSignals, serverClock } from "./live.js";
import { startPage } from "./page.js";
import { sound } from "./sound.js";
import { languageOf, messageOf, t } from "./words.js";

const PATIENT = decodeURIComponent(location.pathname.split("/").at(-1));
const BASE = `/api/patients/${encodeURIComponent(PATIENT)}`;
const CHARTS = [
  { title: "Heart rate", signals: ["heart_rate"], least: 40, bounds: [0, 400], limits: ["heart_rate_low", "heart_rate_high", "heart_rate_maximum", "zone_low", "zone_high"] },
  { title: "SpO₂", signals: ["spo2"], least: 10, bounds: [0, 100], limits: ["spo2_floor"] },
  { title: "Respiratory rate", signals: ["respiratory_rate"], least: 14, bounds: [0, 150], limits: [] },
  { title: "Blood pressure", signals: ["systolic_pressure", "diastolic_pressure"], least: 60, bounds: [0, 370], dots: true, limits: ["systolic_low", "systolic_high", "diastolic_high"] },
  { title: "Temperature", signals: ["body_temperature"], least: 3, bounds: [10, 47], dots: true, limits: [] },
  { title: "NEWS2", signals: ["news2_high", "news2_low"], least: 8, bounds: [0, 20], limits: [], range: true },
];
const SHOWN_IN_CHARTS = new Set(CHARTS.flatMap((chart) => chart.signals));

const trends = new Map();
const cards = new Map();
let row = null;
let standing = [];
let minutes = 15;
let alertsTimer = 0;

const byId = (id) => document.getElementById(id);

// ---- Head ------------------------------------------------------------------------------------------------------------

function showHead() {
  const title = row.name || row.patient;
  setText(byId("name"), title);
  setText(byId("bed"), row.bed || "–");
  setAttribute(byId("bed"), "aria-label", row.bed ? t("Bed {bed}", { bed: row.bed }) : t("No bed known"));
  const facts = [
    row.name ? row.patient : "",
    row.ward && t("Ward {ward}", { ward: row.ward }),
    row.age_band && t("{age} years", { age: row.age_band }),
    row.session?.active && t("Exercise session in progress"),
    row.t ? t("newest measured {time}", { time: clockTime(row.t) }) : t("no reading yet"),
  ];
  setText(byId("facts"), facts.filter(Boolean).join(" · "));
  const urgent = row.alerts.filter((alert) => alert.priority === "high").length;
  document.title = titleOf(urgent, row.bed ? t("Bed {bed}", { bed: row.bed }) : row.patient);
  const score = news2(row.news2);
  const card = byId("news2");
  setAttribute(card, "data-band", news2Band(row.news2));
  renderIfChanged(card, JSON.stringify(score), () => [
    el("span", { class: "news2-title" }, "NEWS2"),
    el("strong", { class: "news2-score" }, score.shown),
    el("span", { class: "news2-note" }, [score.note, score.missing && sentence(score.missing)].filter(Boolean).join(t(". ")) || t("all inputs known")),
  ]);
}

function showLimits() {
  const limits = Object.entries(row.limits ?? {}).filter(([, value]) => value !== null);
  renderIfChanged(byId("limits"), JSON.stringify(limits), () => [
    limits.length
      ? el("dl", { class: "limits" }, limits.map(([name, value]) => el("div", {}, el("dt", {}, LIMITS[name] ? t(LIMITS[name][0]) : label(name)), el("dd", {}, `${value} ${LIMITS[name]?.[1] ?? ""}`))))
      : el("p", { class: "quiet" }, t("No personal limits are set; the rules' own limits apply.")),
  ]);
}

function showOthers(now) {
  const names = Object.keys(row.signals).filter((name) => !SHOWN_IN_CHARTS.has(name) && row.signals[name].value !== null);
  const host = byId("others");
  renderIfChanged(host, JSON.stringify(names), () => [
    names.length
      ? el("dl", { class: "others" }, names.map((name) => el("div", { "data-signal": name }, el("dt", {}, label(name)), el("dd", { class: "value" }, el("span", { class: "number" }), el("span", { class: "age" })))))
      : el("p", { class: "quiet" }, t("None.")),
  ]);
  for (const box of host.querySelectorAll("[data-signal]")) {
    const name = box.dataset.signal;
    const signal = row.signals[name];
    const fresh = freshness(name, signal, now);
    setAttribute(box.lastElementChild, "data-state", fresh.state);
    setText(box.querySelector(".number"), fresh.state === "expired" ? "–" : valueWithUnit(name, signal.value));
    setText(box.querySelector(".age"), fresh.state === "expired" ? t("last {value}, {age}", { value: valueWithUnit(name, signal.value), age: fresh.text }) : fresh.text);
    setAttribute(box, "title", `${timesOf(signal)}, ${quality(signal.quality).word}`);
  }
}

// ---- Values and trends -----------------------------------------------------------------------------------------------

class Card {
  constructor(plan) {
    this.plan = plan;
    this.number = el("strong", { class: "number" });
    this.age = el("span", { class: "age" });
    this.bars = el("span", { class: "quality" });
    this.times = el("span", { class: "times" });
    this.baseline = el("span", { class: "usual" });
    const host = el("div", { class: "chart-host" });
    this.head = el(
      "header",
      { class: "value" },
      el("h3", {}, t(plan.title)),
      el("p", { class: "now" }, this.number, el("span", { class: "unit" }, unit(plan.signals[0])), this.bars, this.age),
      el("p", { class: "fine" }, this.times, this.baseline),
    );
    this.box = el("article", { class: "card", "data-chart": plan.signals[0] }, this.head, host);
    this.host = host;
  }

  show(now) {
    this.chart ??= new Chart(this.host);
    const { plan } = this;
    const info = signalInfo(plan.range ? "heart_rate" : plan.signals[0]);
    const span_s = minutes * 60;
    const gapS = Math.max(3 * info.period_s, 15, (span_s / 600) * 3, span_s > 900 ? 150 : 0);
    const baseline = plan.signals.length === 1 ? row.signals[plan.signals[0]]?.baseline : null;
    const band = baseline && baseline.mean !== null && baseline.scale !== null && baseline.count > 0 ? { low: baseline.mean - 2 * baseline.scale, high: baseline.mean + 2 * baseline.scale } : null;
    const digits = plan.signals[0] === "body_temperature" ? 1 : 0;
    const limits = plan.limits.filter((name) => row.limits?.[name] !== null && row.limits?.[name] !== undefined).map((name) => ({ value: row.limits[name], text: `${t(LIMITS[name][4])} ${row.limits[name]}` }));
    this.chart.show(
      {
        title: t(plan.title), unit: unit(plan.signals[0]), digits, gapS, dots: plan.dots ?? false, limits, baseline: band, onsets: onsetsOf(standing, plan.signals),
        least: plan.least, bounds: plan.bounds,
        series: plan.signals.map((name, i) => ({ name, points: trends.get(name) ?? [], class: i ? "second" : "first" })),
      },
      now - span_s,
      now,
    );
    if (plan.range) this.showScore();
    else this.showLatest(now, baseline, digits);
  }

  showScore() {
    const score = news2(row.news2);
    setText(this.number, score.shown);
    setText(this.age, score.note);
    setText(this.times, score.missing ? sentence(score.missing) : "");
    setText(this.baseline, "");
  }

  showLatest(now, baseline, digits) {
    const names = this.plan.signals;
    const signals = names.map((name) => row.signals[name]).filter((signal) => signal && signal.value !== null);
    if (!signals.length) {
      setAttribute(this.head, "data-state", "none");
      setText(this.number, "–");
      setText(this.age, t("none yet"));
      return;
    }
    const worst = signals.reduce((a, b) => (a.t <= b.t ? a : b));
    const fresh = freshness(names[0], worst, now);
    const grade = quality(Math.min(...signals.map((signal) => signal.quality ?? 1)));
    const text = names.map((name) => number(name, row.signals[name]?.value)).join("/");
    setAttribute(this.head, "data-state", fresh.state);
    setText(this.number, fresh.state === "expired" ? "–" : text);
    setText(this.age, fresh.state === "expired" ? t("last {value}, {age}", { value: text, age: fresh.text }) : fresh.text);
    renderIfChanged(this.bars, String(grade.bars), () => [qualityBars(grade.bars), el("span", { class: "quality-word" }, grade.word)]);
    setText(this.times, timesOf(worst));
    const usual = baseline && baseline.mean !== null && baseline.count > 0 ? ` · ${t("usual {mean} ± {spread}", { mean: baseline.mean.toFixed(digits), spread: (2 * (baseline.scale ?? 0)).toFixed(digits) })}` : "";
    setText(this.baseline, usual);
  }
}

function addPoints() {
  for (const name of SHOWN_IN_CHARTS) {
    const signal = row.signals[name];
    if (!signal || typeof signal.value !== "number") continue;
    append(name, { t: signal.t, value: signal.value, low: signal.value, high: signal.value, quality: signal.quality ?? 1, received: signal.received_at });
  }
  if (row.news2 && row.news2.applicable !== false) {
    for (const bound of ["low", "high"]) {
      const value = row.news2[bound];
      if (typeof value === "number" && row.t) append(`news2_${bound}`, { t: row.t, value, low: value, high: value, quality: 1, received: row.received_at });
    }
  }
}

function append(name, point) {
  const points = trends.get(name) ?? trends.set(name, []).get(name);
  if (!points.length || point.t > points.at(-1).t) points.push(point);
  while (points.length > 4000) points.shift();
}

async function loadTrends() {
  const asked = minutes;
  await Promise.all(
    [...SHOWN_IN_CHARTS].map(async (signal) => {
      const answer = await fetch(`${BASE}/trend?${new URLSearchParams({ signal, minutes: asked })}`).catch(() => null);
      if (!answer?.ok || asked !== minutes) return;
      const { points } = await answer.json();
      trends.set(signal, points.map(([t, value, low, high, q, received]) => ({ t, value, low, high, quality: q, received })));
    }),
  );
  if (row) render();
}

// ---- Alerts ----------------------------------------------------------------------------------------------------------

async function loadAlerts() {
  const answer = await fetch(BASE).catch(() => null);
  if (!answer?.ok) return;
  const { alerts } = await answer.json();
  const now = (alert) => alert.standing || alert.state === "suppressed";
  standing = alerts.filter((alert) => alert.standing);
  showAlerts(byId("active"), alerts.filter(now), t("No active alert."));
  showAlerts(byId("earlier"), alerts.filter((alert) => !now(alert)), t("None in the last 24 hours."));
  if (row) render();
}

/** Which alert calls in this one's place. */
function keptBack(alert) {
  const rule = alert.suppressed_by.replaceAll("-", " ");
  return alert.group_lead ? t("joined {rule}", { rule }) : t("kept back by {rule}", { rule });
}

function showAlerts(host, alerts, nothing) {
  renderIfChanged(host, JSON.stringify(alerts), () => {
    const open = new Set([...host.querySelectorAll("details[open]")].map((details) => details.dataset.of));
    return alerts.length ? alerts.map((alert) => alertCard(alert, open)) : [el("p", { class: "quiet" }, nothing)];
  });
}

function alertCard(alert, open) {
  const active = alert.state === "active";
  const stands = active || alert.state === "suppressed";
  const ended = { cleared: t("cleared"), withdrawn: t("withdrawn") }[alert.state];
  return el(
    "article",
    { class: `alert-card ${alert.state} ${alert.stage}`, "data-priority": alert.priority, "data-kind": alert.kind, "data-alert": alert.id, "data-signal": alert.signal?.state },
    el(
      "header",
      {},
      active ? priorityMark(alert.priority, PRIORITY_MARKS) : null,
      el("span", { class: `tag tag-${alert.priority}` }, PRIORITY_WORDS[alert.priority]),
      alert.kind === "technical" && el("span", { class: "tag tag-technical" }, t("Technical")),
      alert.kind === "advisory" && el("span", { class: "tag tag-technical" }, t("Advisory")),
      active && el("span", { class: alert.stage === "provisional" ? "tag tag-provisional" : "tag tag-plain" }, alert.stage === "provisional" ? t("provisional") : t("confirmed")),
      ended && el("span", { class: `tag tag-ended` }, ended),
      alert.state === "suppressed" && el("span", { class: "tag tag-plain" }, keptBack(alert)),
      el("span", { class: "since" }, stands ? el("span", { "data-onset": alert.onset_t }) : t("{from} to {to}", { from: clockTime(alert.onset_t), to: clockTime(alert.t) })),
    ),
    el("p", { class: "message", lang: languageOf(alert) }, typeset(messageOf(alert))),
    alert.standing && alert.signal
      ? el("p", { class: "signal" }, el("span", { class: "signal-words", "data-signal": alert.signal.state }, sentence(signalWords(alert.signal))), " ", el("span", { class: "acts" }, actButtons(PATIENT, alert, spoken(row ?? { patient: PATIENT }))))
      : null,
    alert.signals.length ? el("p", { class: "feedback" }, t("Was it useful?"), " ", el("span", { class: "acts" }, feedbackButtons(PATIENT, alert, spoken(row ?? { patient: PATIENT })))) : null,
    el("p", { class: "fine" }, t("Onset measured {onset} · newest evidence received {received} · written {written}", { onset: clockTime(alert.onset_t), received: clockTime(alert.received_at), written: clockTime(alert.applied_at) })),
    disclosure(`${alert.id} evidence`, t("Evidence"), open, evidence(alert)),
    disclosure(`${alert.id} history`, counted("History", alert.transitions), open, history(alert)),
    alert.signals.length ? disclosure(`${alert.id} signal`, counted("Who did what", alert.signals), open, acts(alert)) : null,
    upToDate(disclosure(`${alert.id} deliveries`, counted("Deliveries", alert.receipts), open, deliveries(alert))),
  );
}

function acts(alert) {
  return el(
    "ol",
    { class: "history" },
    alert.signals.map((act) => el("li", {}, el("strong", {}, actWords(act)), act.reason ? el("span", { class: "message" }, act.reason) : null, el("span", { class: "fine" }, clockTime(act.t)))),
  );
}

function disclosure(of, title, open, ...children) {
  return el("details", { "data-of": of, open: open.has(of) }, el("summary", {}, title), ...children);
}

function counted(title, entries) {
  return entries.length === 1 ? t("{title}, 1 entry", { title: t(title) }) : t("{title}, {count} entries", { title: t(title), count: entries.length });
}

const RECEIPTS = {
  queued: "Queued", sent: "Sent", delivered: "Delivered", read: "Read", accepted: "Accepted", declined: "Declined",
  expired: "Expired", failed: "Failed",
};

const NOTIFICATIONS = { onset: "Raised", update: "Updated", clear: "Cleared", withdrawn: "Withdrawn", call: "Escalation" };

/** Receipts come without news of the alert itself: they are asked for when somebody looks. */
function upToDate(details) {
  details.addEventListener("toggle", () => details.open && alertsSoon());
  return details;
}

/** What became of each notification: to whom, by which channel, how far it came. */
function deliveries(alert) {
  if (!alert.receipts.length) return el("p", { class: "quiet" }, t("None."));
  return el(
    "ol",
    { class: "history" },
    alert.receipts.map((step) =>
      el(
        "li",
        { "data-state": step.state },
        el("strong", {}, RECEIPTS[step.state] ? t(RECEIPTS[step.state]) : step.state),
        el("span", {}, [step.holder && t("{holder} as {role}", { holder: step.holder, role: step.role }), NOTIFICATIONS[step.transition] && t(NOTIFICATIONS[step.transition]), `${step.channel} · ${step.subscription}`, step.attempt > 1 && t("attempt {n}", { n: step.attempt })].filter(Boolean).join(" · ")),
        step.detail ? el("span", { class: "fine" }, step.detail) : null,
        el("span", { class: "fine" }, clockTime(step.t)),
      ),
    ),
  );
}

function history(alert) {
  return el(
    "ol",
    { class: "history" },
    alert.transitions.map((transition, i) =>
      el(
        "li",
        { "data-transition": transition.transition, "data-stage": transition.stage },
        el("strong", {}, transitionWords(transition, alert.transitions.slice(0, i))),
        el("span", { class: "message", lang: languageOf(transition) }, typeset(messageOf(transition))),
        el("span", { class: "fine" }, t("measured {measured} · received {received} · written {written}", { measured: clockTime(transition.t), received: clockTime(transition.received_at), written: clockTime(transition.applied_at) })),
      ),
    ),
  );
}

function showSystem(alerts) {
  renderIfChanged(byId("system"), JSON.stringify(alerts), () =>
    alerts.map((alert) => el("li", {}, el("span", { class: `tag tag-${alert.priority}` }, PRIORITY_WORDS[alert.priority]), el("span", { class: "tag tag-technical" }, t("System")), el("span", { lang: languageOf(alert) }, typeset(messageOf(alert))))),
  );
}

// ---- Together --------------------------------------------------------------------------------------------------------

function signalsOf(one) {
  return JSON.stringify(one?.alerts.map((alert) => [alert.id, alert.signal?.sequence]));
}

function take(rows) {
  for (const one of rows) {
    if (one.patient === "") showSystem(one.alerts);
    if (one.patient !== PATIENT) continue;
    announceSignals(row, one, spoken(one));
    if (signalsOf(row) !== signalsOf(one)) alertsSoon();
    row = one;
    sound(one.alerts);
  }
  if (!row) {
    setText(byId("name"), PATIENT);
    setText(byId("facts"), t("Nothing is known of this patient."));
    return;
  }
  addPoints();
  render();
}

function render() {
  const now = serverClock.now();
  showHead();
  showLimits();
  showOthers(now);
  showEstimates(byId("estimates"), row.estimates, now);
  for (const card of cards.values()) card.show(now);
  for (const since of document.querySelectorAll("[data-onset]")) setText(since, t("for {span}", { span: span(now - Number(since.dataset.onset)) }));
}

function alertsSoon() {
  clearTimeout(alertsTimer);
  alertsTimer = setTimeout(loadAlerts, 100);
}

for (const plan of CHARTS) {
  const card = new Card(plan);
  cards.set(plan.title, card);
  byId("charts").append(card.box);
}
byId("windows").addEventListener("change", (event) => {
  minutes = Number(event.target.value);
  loadTrends();
});

startPage().then(() => startLimits(byId("limits-change"), PATIENT, () => row?.limits ?? {}));
startActing();
await learnSignals();
new Live({ patient: PATIENT }, {
  reset(rows) {
    take(rows);
    loadTrends();
    alertsSoon();
  },
  rows: take,
  alert(alert) {
    if (alert.patient === PATIENT) alertsSoon();
    announceAlert(alert, spoken(row && alert.patient === PATIENT ? row : { patient: alert.patient }), PRIORITY_WORDS);
  },
});
setInterval(() => row && render(), 1000);

// The ward list: one row a patient, the most urgent first, patched in place.

import { actButtons, startActing } from "./acts.js";
import { el, priorityMark, qualityBars, renderIfChanged, setAttribute, setText } from "./elements.js";
import {
  PRIORITIES, PRIORITY_MARKS, PRIORITY_WORDS, clockTime, freshness, isoTime, label, learnSignals, minuteTime, news2,
  isUnanswered, news2Band, number, quality, sentence, signalWords, span, spoken, timesOf, titleOf, typeset,
} from "./format.js";
import { Live, announceAlert, announceSignals, serverClock } from "./live.js";
import { startPage } from "./page.js";
import { sound } from "./sound.js";
import { languageOf, messageOf, t } from "./words.js";

const VALUES = [
  { key: "heart_rate", signals: ["heart_rate"], unit: "/min" },
  { key: "spo2", signals: ["spo2"], unit: "%" },
  { key: "respiratory_rate", signals: ["respiratory_rate"], unit: "/min" },
  { key: "pressure", name: "Blood pressure", signals: ["systolic_pressure", "diastolic_pressure"], unit: "mmHg" },
  { key: "body_temperature", signals: ["body_temperature"], unit: "°C" },
];
const SHOWN_ALERTS = 3;
const SHOWN_TECHNICAL = 6;

const patients = new Map();
const lines = new Map();
const changed = new Set();
const body = document.getElementById("rows");
const find = document.getElementById("find");
const wardChoice = document.getElementById("ward-choice");
const natural = new Intl.Collator(undefined, { numeric: true });
let loaded = false;
let order = "";

/** One table row and the elements in it that change. */
class Line {
  constructor(row) {
    this.patient = row.patient;
    this.mark = el("span", { class: "row-mark" });
    this.bed = el("span", { class: "bed" });
    this.link = el("a", { class: "patient-name", href: `/patients/${encodeURIComponent(row.patient)}` });
    this.pseudonym = el("span", { class: "pseudonym" });
    this.session = el("span", { class: "tag tag-session", hidden: true }, t("Exercise session"));
    this.news2 = el("strong", { class: "score" });
    this.news2Note = el("span", { class: "note" });
    this.alerts = el("ul", { class: "row-alerts" });
    this.cells = VALUES.map((value) => ({ ...value, ...valueCell() }));
    const cell = (heading, className, ...children) => el("td", { role: "cell", class: className, "data-heading": heading }, ...children);
    this.row = el(
      "tr",
      { role: "row", "data-patient": row.patient },
      el(
        "th",
        { role: "rowheader", scope: "row", class: "c-patient" },
        el("span", { class: "patient" }, this.mark, this.bed, el("span", { class: "names" }, this.link, this.pseudonym, this.session)),
      ),
      cell(t("Active alerts"), "c-alerts", this.alerts),
      cell("NEWS2", "c-news2", el("span", { class: "news2" }, this.news2, this.news2Note)),
      this.cells.map((value) => cell(value.name ? t(value.name) : label(value.key), `c-value c-${value.key}`, value.box)),
    );
  }

  show(row) {
    this.data = row;
    const top = row.alerts[0]?.priority ?? "";
    setAttribute(this.row, "data-priority", top || null);
    setAttribute(this.row, "data-provisional", row.alerts[0]?.stage === "provisional" ? "true" : null);
    renderIfChanged(this.mark, top, () =>
      top ? [priorityMark(top, PRIORITY_MARKS), el("span", { class: "unseen" }, `${t("{priority} priority", { priority: PRIORITY_WORDS[top] })}. `)] : [el("span", { class: "unseen" }, `${t("No alert")}. `)],
    );
    setText(this.bed, row.bed || "–");
    setAttribute(this.bed, "title", row.bed ? t("Bed {bed}", { bed: row.bed }) : t("No bed known"));
    setText(this.link, row.name || row.patient);
    setText(this.pseudonym, [row.name ? row.patient : "", row.ward, row.age_band && t("{age}\u00a0y", { age: row.age_band.replaceAll("-", "\u2060\u2013\u2060") })].filter(Boolean).join(" · "));
    this.session.hidden = !row.session?.active;
    const score = news2(row.news2);
    setText(this.news2, score.shown);
    setText(this.news2Note, [score.note, score.missing].filter(Boolean).join(", "));
    setAttribute(this.news2.parentElement, "data-band", news2Band(row.news2));
    const key = JSON.stringify(row.alerts.map((a) => [a.id, a.stage, a.message, a.priority, a.signal?.sequence]));
    renderIfChanged(this.alerts, key, () => alertItems(row));
  }

  /** What passes with time: ages, and what they do to a value. */
  tick(now) {
    for (const cell of this.cells) showValue(cell, this.data, now);
    for (const since of this.alerts.querySelectorAll("[data-onset]")) {
      const onset = Number(since.dataset.onset);
      setText(since, t("{time}, {span} ago", { time: minuteTime(onset), span: span(now - onset) }));
    }
  }
}

function valueCell() {
  const shown = el("span", { class: "number" });
  const bars = el("span", { class: "quality" });
  const age = el("span", { class: "age" });
  return { shown, bars, age, box: el("span", { class: "value" }, shown, el("span", { class: "below" }, bars, age)) };
}

function showValue(cell, row, now) {
  const signals = cell.signals.map((name) => row.signals[name]).filter((signal) => signal && signal.value !== null);
  if (!signals.length) {
    setAttribute(cell.box, "data-state", "none");
    setText(cell.shown, "–");
    setText(cell.age, t("none yet"));
    renderIfChanged(cell.bars, "", () => []);
    setAttribute(cell.box, "title", null);
    return;
  }
  const worst = signals.reduce((a, b) => (a.t <= b.t ? a : b));
  const fresh = freshness(cell.signals[0], worst, now);
  const grade = quality(Math.min(...signals.map((signal) => signal.quality ?? 1)));
  const texts = cell.signals.map((name) => number(name, row.signals[name]?.value));
  setAttribute(cell.box, "data-state", fresh.state);
  setText(cell.shown, fresh.state === "expired" ? "–" : texts.join("/"));
  setText(cell.age, fresh.state === "expired" ? t("last {value}, {age}", { value: texts.join("/"), age: fresh.text }) : fresh.text);
  setAttribute(cell.box, "title", `${timesOf(worst)}, ${grade.word}`);
  renderIfChanged(cell.bars, String(grade.bars), () => [
    qualityBars(grade.bars),
    el("span", { class: grade.bars === 3 ? "unseen" : "quality-word" }, grade.word),
  ]);
}

function alertItems(row) {
  const { alerts } = row;
  const ordered = [...alerts.filter((alert) => alert.kind !== "technical"), ...alerts.filter((alert) => alert.kind === "technical")];
  const items = ordered.slice(0, SHOWN_ALERTS).map((alert) => {
    const technical = alert.kind === "technical";
    return el(
      "li",
      { class: `row-alert ${alert.stage}${technical ? " of-monitoring" : ""}`, "data-priority": alert.priority, "data-alert": alert.id, "data-signal": alert.signal?.state },
      el("span", { class: technical ? "tag tag-technical" : `tag tag-${alert.priority}` }, technical ? t("Technical") : PRIORITY_WORDS[alert.priority]),
      el(
        "span",
        { class: "reason" },
        el("span", { class: "message", lang: languageOf(alert) }, typeset(messageOf(alert))),
        " ",
        alert.stage === "provisional" && el("span", { class: "tag tag-provisional" }, t("provisional")),
        " ",
        el("time", { class: "since", datetime: isoTime(alert.onset_t), "data-onset": alert.onset_t, title: t("Onset measured {onset}, newest evidence received {received}", { onset: clockTime(alert.onset_t), received: clockTime(alert.received_at) }) }),
        el("span", { class: "signal" }, el("span", { class: "signal-words", "data-signal": alert.signal?.state }, signalWords(alert.signal)), " ", actButtons(row.patient, alert, spoken(row), ["acknowledge"])),
      ),
    );
  });
  if (ordered.length > SHOWN_ALERTS) items.push(el("li", { class: "more" }, t("and {count} more", { count: ordered.length - SHOWN_ALERTS })));
  if (!items.length) items.push(el("li", { class: "none" }, t("None")));
  return items;
}

function compare(a, b) {
  return (
    b.urgency[0] - a.urgency[0] ||
    b.urgency[1] - a.urgency[1] ||
    b.urgency[2] - a.urgency[2] ||
    Number(!a.bed) - Number(!b.bed) ||
    natural.compare(a.ward, b.ward) ||
    natural.compare(a.bed, b.bed) ||
    natural.compare(a.name, b.name) ||
    natural.compare(a.patient, b.patient)
  );
}

function take(rows) {
  for (const row of rows) {
    announceSignals(patients.get(row.patient), row, spoken(row));
    if (row.listed) patients.set(row.patient, row);
    else patients.delete(row.patient);
    changed.add(row.patient);
  }
  render();
}

function wanted(row) {
  if (row.patient === "") return false;
  if (wardChoice.value && row.ward !== wardChoice.value) return false;
  const text = find.value.trim().toLowerCase();
  return !text || [row.patient, row.name, row.bed, row.ward].some((part) => part.toLowerCase().includes(text));
}

function render() {
  const now = serverClock.now();
  sound([...patients.values()].flatMap((row) => row.alerts));
  const rows = [...patients.values()].filter(wanted).sort(compare);
  for (const [patient, line] of lines) {
    if (!patients.has(patient)) {
      line.row.remove();
      lines.delete(patient);
    }
  }
  for (const row of rows) {
    if (!lines.has(row.patient)) lines.set(row.patient, new Line(row));
    else if (!changed.has(row.patient)) continue;
    lines.get(row.patient).show(row);
    lines.get(row.patient).tick(now);
    changed.delete(row.patient);
  }
  const newOrder = JSON.stringify(rows.map((row) => row.patient));
  if (newOrder !== order) {
    order = newOrder;
    const focused = document.activeElement;
    body.replaceChildren(...rows.map((row) => lines.get(row.patient).row));
    if (focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
  }
  showWards();
  showCounts();
  showTechnical();
  const empty = document.getElementById("empty");
  empty.hidden = rows.length > 0;
  setText(empty, !loaded ? t("Loading the ward …") : patients.size ? t("No patient fits the filter.") : t("No patients yet. A patient appears when admitted, or with the first reading."));
}

function showWards() {
  const wards = [...new Set([...patients.values()].map((row) => row.ward).filter(Boolean))].sort(natural.compare);
  if (wardChoice.dataset.key === JSON.stringify(wards)) return;
  wardChoice.dataset.key = JSON.stringify(wards);
  const chosen = wardChoice.value;
  wardChoice.replaceChildren(el("option", { value: "" }, t("All wards")), ...wards.map((ward) => el("option", { value: ward }, ward)));
  wardChoice.value = wards.includes(chosen) ? chosen : "";
}

function showCounts() {
  const all = [...patients.values()].flatMap((row) => row.alerts);
  const count = (priority) => all.filter((alert) => alert.priority === priority && alert.kind !== "technical").length;
  const unanswered = all.filter((alert) => alert.signal && isUnanswered(alert)).length;
  const technical = all.filter((alert) => alert.kind === "technical").length;
  const listed = [...patients.keys()].filter(Boolean).length;
  const counts = [...PRIORITIES].reverse().slice(0, 3).map((priority) => [priority, count(priority)]);
  renderIfChanged(document.getElementById("counts"), JSON.stringify([counts, technical, listed, unanswered]), () => [
    el("li", { class: unanswered ? "count" : "count zero", "data-count": "unanswered" }, el("strong", {}, String(unanswered)), ` ${t("not acknowledged")}`),
    ...counts.map(([priority, n]) =>
      el("li", { class: n ? "count" : "count zero" }, priorityMark(priority, PRIORITY_MARKS), el("strong", {}, String(n)), ` ${PRIORITY_WORDS[priority].toLowerCase()}`),
    ),
    el("li", { class: technical ? "count" : "count zero" }, el("strong", {}, String(technical)), ` ${t("technical")}`),
    el("li", { class: "count plain" }, el("strong", {}, String(listed)), ` ${listed === 1 ? t("patient") : t("patients")}`),
  ]);
  const urgent = counts[0][1];
  document.title = titleOf(urgent, t("Ward"));
}

function showTechnical() {
  const found = [...patients.values()].flatMap((row) => row.alerts.filter((alert) => alert.kind === "technical").map((alert) => [row, alert]));
  found.sort(([, a], [, b]) => PRIORITIES.indexOf(b.priority) - PRIORITIES.indexOf(a.priority) || a.onset_t - b.onset_t);
  document.getElementById("technical").hidden = !found.length;
  renderIfChanged(
    document.getElementById("technical-list"),
    JSON.stringify(found.map(([row, alert]) => [row.patient, row.name, row.bed, alert.id, alert.message, alert.stage])),
    () =>
      found.slice(0, SHOWN_TECHNICAL).map(([row, alert]) =>
        el(
          "li",
          { class: row.patient === "" ? "system" : null },
          el("span", { class: `tag tag-${alert.priority}` }, PRIORITY_WORDS[alert.priority]),
          row.patient === ""
            ? el("span", { class: "whom" }, t("System"))
            : el("a", { class: "whom", href: `/patients/${encodeURIComponent(row.patient)}` }, sentence(spoken(row))),
          el("span", { class: "message", lang: languageOf(alert) }, typeset(messageOf(alert))),
          alert.stage === "provisional" && el("span", { class: "tag tag-provisional" }, t("provisional")),
          el("time", { class: "since", datetime: isoTime(alert.onset_t) }, t("since {time}", { time: minuteTime(alert.onset_t) })),
        ),
      ).concat(found.length > SHOWN_TECHNICAL ? [el("li", { class: "quiet" }, t("and {count} more, shown with their patients", { count: found.length - SHOWN_TECHNICAL }))] : []),
  );
}

function tick() {
  const now = serverClock.now();
  for (const line of lines.values()) if (line.row.isConnected) line.tick(now);
  showCounts();
}

/** Arrow keys walk through the patients. */
body.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = event.target.closest?.("tr");
  if (!step || !row) return;
  const next = step > 0 ? row.nextElementSibling : row.previousElementSibling;
  const link = next?.querySelector("a.patient-name");
  if (link) {
    event.preventDefault();
    link.focus();
  }
});
find.addEventListener("input", render);
wardChoice.addEventListener("change", render);
document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());

startPage();
startActing();
await learnSignals();
new Live({}, {
  reset(rows) {
    loaded = true;
    patients.clear();
    take(rows);
  },
  rows: take,
  alert(alert) {
    announceAlert(alert, spoken(patients.get(alert.patient) ?? { patient: alert.patient }), PRIORITY_WORDS);
  },
});
setInterval(tick, 1000);
